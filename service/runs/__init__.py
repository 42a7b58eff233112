"""Run history and registry: explanations and models that others find, compare and deploy.

MLflow is the engine behind it: a SQLite file and a folder below ``.runs/``, or an MLflow server.
It keeps bytes and tags; what lies in the files, when they count as there, and what they must hash
to is decided here. Importing this package loads no MLflow, and ``Model.get_model_path`` never asks
for it; everything else needs ``pip install "scoring-service[runs]"``.

A registered version is a copy of what a run has, in a folder of its own, an MLflow model::

    MLmodel               loader_module: service.runs.pyfunc, code: code, data: model, signature
    model/                the files that were registered, and nothing else: a scoring explainer's
                          file with its manifest, or all that `service.scoring.save` wrote
    code.zip              this package, for environments that have none
    requirements.txt, …   what MLflow writes for other environments

and these tags in the database, written in the same transaction as the version itself:

``sha256``            a JSON object: the path of each file of the version (``model/…``, ``MLmodel``)
                      and its SHA-256, which it is compared with before anything is unpickled
``file``              the one file in ``model/`` that was registered; "" where a folder was
``explanation``       the newest explanation that was uploaded for it since, else the newest of the
                      run when it was registered; "" of none
``registered_from``   its path in the run
``properties``        a JSON object, as given

The run is the version's own ``run_id``; more tags are the user's. ``deployed.<name>`` says where it
runs, and is written by the deployment. An alias is MLflow's, and may point elsewhere tomorrow: what
is deployed is pinned to a version.

An explanation is a folder ``explanations/<id>`` of a run's artifacts, in the format of
`service.explanations.files`; it is there once the run has the tag ``explanation.<id>``.

``failures``            what can go wrong with a store
``surroundings``        the environment: where the store is, and what MLflow is told
``names``               names and comments that a store can keep
``embedded``            the SQLite store: made in one step, never migrated unasked
``engine``              the one module that imports MLflow
``artifacts``           files of runs and versions, wherever they lie
``workspace``           Workspace: a store, its experiments and runs
``summaries``           what a run's tags say of its explanations
``pyfunc``              a registered version as a model of MLflow's
``versions``            making a registered version, and checking it
``model``               Model: a registered version
``run``                 Run: what a script did
``explanation_client``  ExplanationClient: explanations of a run
``submission``          running a script as a run
``copying``             one store into another
``commands``            the command line

Next: :mod:`service.runs.failures`.
"""

from service.runs.explanation_client import ExplanationClient
from service.runs.failures import (
    ExplanationNotFoundError,
    NotInStoreError,
    RunStoreError,
    StoreUnreachableError,
    StoreVersionError,
)
from service.runs.model import Model
from service.runs.run import Run
from service.runs.workspace import Workspace

__all__ = [
    "ExplanationClient",
    "ExplanationNotFoundError",
    "Model",
    "NotInStoreError",
    "Run",
    "RunStoreError",
    "StoreUnreachableError",
    "StoreVersionError",
    "Workspace",
]
