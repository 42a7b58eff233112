"""The protocols that clients speak: thin adapters, each a blueprint around the guarded script.

``plain``           Azure ML and people: ``/``, ``/score``
``sagemaker``       SageMaker and MLflow: ``/ping``, ``/health``, ``/version``, ``/invocations``
``media_types``     what ``/invocations`` reads and writes by its media type
``kserve_v1``       KServe's first protocol: ``/v1/models/{name}:predict``, ``:explain``
``open_inference``  the Open Inference Protocol (KServe V2, Triton): ``/v2/models/{name}/infer``
``output_tensors``  its answers as tensors, and what tensors a model answers
``documents``       ``/swagger.json`` and ``/metrics``
``all_replicas``    metrics of all replicas behind one port
``explanation_dashboard``  the dashboard of an explanation, where ``DASHBOARD`` names one
``openapi``         the document that describes the routes
``path_prefix``     the prefix that a proxy leaves before their paths
``cross_origin``    pages of other origins that may ask

Next: :mod:`service.web.protocols.plain`.
"""

from collections.abc import Callable, Sequence

from flask import Blueprint

from service.web.guarded_script import GuardedScript
from service.web.protocols import documents, kserve_v1, open_inference, plain, sagemaker

PROTOCOLS: Sequence[Callable[[GuardedScript], Blueprint]] = (
    plain.routes,
    sagemaker.routes,
    kserve_v1.routes,
    open_inference.routes,
    documents.routes,
)
