"""The protocols that clients speak: thin adapters, each a blueprint around the guarded script.

``plain``           Azure ML and people: ``/``, ``/score``
``sagemaker``       SageMaker and MLflow: ``/ping``, ``/health``, ``/version``, ``/invocations``
``kserve_v1``       KServe's first protocol: ``/v1/models/{name}:predict``, ``:explain``
``open_inference``  the Open Inference Protocol (KServe V2, Triton): ``/v2/models/{name}/infer``
``documents``       ``/swagger.json`` and ``/metrics``

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
