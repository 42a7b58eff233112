"""KServe's own models of its objects against the manifests that deploy writes."""

import json
import subprocess

import yaml
from serving import ROOT

from deploy import render
from deploy.configuration import configuration
from deploy.render import FORMS

PYTHON = ROOT / ".venv-foreign" / "bin" / "python"
CONFIG = configuration(
    {"name": "scoring", "cpu_cores": 0.5, "memory_gb": 1.5, "replicas": 3, "description": "a model",
     "auth_enabled": True, "tags": {"owner": "me"}, "env": {"LOG": "1"}}
)  # fmt: skip


def break_predictor(manifest):
    manifest["spec"]["predictor"]["minReplica"] = 3


def break_type(manifest):
    manifest["spec"]["predictor"]["minReplicas"] = "3"


def break_container(manifest):
    manifest["spec"]["predictor"]["containers"][0]["readinessProbe"]["httpGet"]["pth"] = "/"


VERDICTS = {
    lambda manifest: None: "fits",
    break_predictor: "service.spec.predictor.minReplica: no such field",
    break_type: "service.spec.predictor.minReplicas: expected int, got '3'",
    break_container: (
        "service.spec.predictor.containers[0].readinessProbe.httpGet.pth: "
        "Extra inputs are not permitted"
    ),
}


def test_an_inference_service_fits_the_models_of_kserve(tmp_path):
    """Strictly, in the environment of the foreign clients: a misspelt field fails, KServe's own or
    a container's, and so does a value of another type.
    """
    assert PYTHON.exists(), "the foreign clients are not installed: run `make setup-clients`"
    files = []
    for change in VERDICTS:
        (manifest,) = yaml.safe_load_all(
            render.as_yaml(FORMS["kserve"](CONFIG, "registry.example/scoring:1"))
        )
        change(manifest)
        files.append(tmp_path / f"{len(files)}.json")
        files[-1].write_text(json.dumps(manifest))
    command = [PYTHON, ROOT / "tests" / "clients" / "check_kserve.py", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == list(VERDICTS.values())
