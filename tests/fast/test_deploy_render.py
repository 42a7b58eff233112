"""Manifests for clusters and bills of materials, against the published schemas as far as packages
bring them.
"""

import json
import warnings
from pathlib import Path

import pytest
import yaml

from deploy import render
from deploy.configuration import configuration
from deploy.image import sbom
from deploy.render import FORMS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports
    import kubernetes_validate

ROOT = Path(__file__).parents[2]
CONFIG = configuration(
    {
        "name": "scoring",
        "cpu_cores": 0.5,
        "memory_gb": 1.5,
        "replicas": 3,
        "description": "a model",
        "auth_enabled": True,
        "tags": {"owner": "me"},
        "env": {"LOG": "1"},
    }
)
IMAGE = "registry.example/scoring:1"


def manifests(form):
    return list(yaml.safe_load_all(render.as_yaml(FORMS[form](CONFIG, IMAGE))))


@pytest.mark.parametrize("index", range(3))
def test_kubernetes_manifests_follow_the_published_schemas(index):
    """Strictly: no field that the schema does not know."""
    kubernetes_validate.validate(manifests("kubernetes")[index], "1.30", strict=True)


def test_the_schema_check_can_fail():
    """A misspelt field is found."""
    broken = manifests("kubernetes")[0]
    broken["spec"]["replcas"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.30", strict=True)


def test_the_predictor_of_kserve_is_a_pod():
    """KServe's own part is the number of replicas; the rest is a pod's specification and follows
    its schema.
    """
    (service,) = manifests("kserve")
    assert (service["apiVersion"], service["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "RawDeployment"
    predictor = service["spec"]["predictor"]
    assert predictor.pop("minReplicas") == 3
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": predictor}
    kubernetes_validate.validate(pod, "1.30", strict=True)


@pytest.mark.parametrize("form", FORMS)
def test_limits_hardening_and_secrets_travel(form):
    """As on one host; a key is a file, never a value."""
    spec = manifests(form)[0]["spec"]
    pod = spec["template"]["spec"] if form == "kubernetes" else spec["predictor"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "1536Mi"}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["AUTH_KEYS_FILE"] == "/run/secrets/keys"
    assert environment["LOG"] == "1"
    assert {volume["name"]: volume for volume in pod["volumes"]}["secrets"]["secret"][
        "secretName"
    ] == "scoring-secrets"
    assert "REUSE_PORT" not in environment


@pytest.mark.parametrize("form", FORMS)
def test_a_cluster_may_choose_the_user(form):
    """As OpenShift does: no id is named, and still it is not root."""
    spec = FORMS[form](CONFIG, IMAGE, True)[0]["spec"]
    pod = spec["template"]["spec"] if form == "kubernetes" else spec["predictor"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert "10001" not in render.as_yaml(FORMS[form](CONFIG, IMAGE, True))
    assert "10001" in render.as_yaml(FORMS[form](CONFIG, IMAGE))


def test_a_bill_lists_every_package_with_its_hashes():
    """CycloneDX, from the project's own lock; the same bytes twice."""
    lock = (ROOT / "requirements.lock").read_text()
    text = sbom.bill_of_materials(lock, "scoring", "sha256:1")
    assert text == sbom.bill_of_materials(lock, "scoring", "sha256:1")
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    found = {one["name"]: one for one in bill["components"]}
    assert f"numpy=={found['numpy']['version']} \\" in lock
    assert found["numpy"]["purl"] == f"pkg:pypi/numpy@{found['numpy']['version']}"
    assert all(one["externalReferences"][0]["hashes"] for one in bill["components"])
