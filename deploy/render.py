"""The same deployment for a cluster: manifests for Kubernetes and for KServe.

They are printed and never applied.
Limits, hardening, probes and secrets are those of one host; the cluster brings its own rollout and
its own balancer, so replicas share no port and are told to stop by readiness first. No cluster is
asked: they are checked against the published schemas only. Next: `deploy.console`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from deploy.configuration import Configuration
from deploy.contract import (
    BALANCED_DRAIN_SECONDS,
    LIVE_ROUTE,
    READY_ROUTE,
    SECRETS_FOLDER,
    SERVICE_PORT,
    STOP_SECONDS,
)
from deploy.engine.hardening import HARDENING
from deploy.release import specs as release_specs

Manifest = dict[str, Any]


def kubernetes(config: Configuration, image: str, any_user: bool = False) -> list[Manifest]:
    """Describe a Deployment with its Service and its PodDisruptionBudget.

    Parameters
    ----------
    config : Configuration
    image : str
        The image as the cluster's nodes can pull it.
    any_user : bool, default False
        Leave out the ids of the user and its groups: the cluster chooses them (OpenShift).

    Examples
    --------
    >>> manifests = kubernetes(Configuration("scoring"), "registry.example/scoring:1")
    >>> [manifest["kind"] for manifest in manifests]
    ['Deployment', 'Service', 'PodDisruptionBudget']
    """
    selector = {"app.kubernetes.io/name": config.name}
    pod = {"metadata": {"labels": selector}, "spec": pod_spec(config, image, any_user)}
    return [
        {
            **_head("apps/v1", "Deployment", config),
            "spec": {
                "replicas": config.replicas,
                "revisionHistoryLimit": config.retain,
                "selector": {"matchLabels": selector},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
                },
                "template": pod,
            },
        },
        {
            **_head("v1", "Service", config),
            "spec": {
                "selector": selector,
                "ports": [{"name": "http", "port": config.port, "targetPort": "http"}],
            },
        },
        {
            **_head("policy/v1", "PodDisruptionBudget", config),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}},
        },
    ]


def kserve(config: Configuration, image: str, any_user: bool = False) -> list[Manifest]:
    """Describe an InferenceService whose predictor is the image itself.

    It is for KServe's mode without Knative, which allows neither a grace period of one's own nor
    most names of ports.

    Parameters
    ----------
    config : Configuration
    image : str
        The image as the cluster's nodes can pull it.
    any_user : bool, default False
        Leave out the ids of the user and its groups: the cluster chooses them (OpenShift).

    Examples
    --------
    >>> (manifest,) = kserve(Configuration("scoring"), "registry.example/scoring:1")
    >>> manifest["apiVersion"], manifest["kind"]
    ('serving.kserve.io/v1beta1', 'InferenceService')
    """
    spec = pod_spec(config, image, any_user)
    head = _head("serving.kserve.io/v1beta1", "InferenceService", config)
    head["metadata"].setdefault("annotations", {})["serving.kserve.io/deploymentMode"] = (
        "RawDeployment"
    )
    return [
        {
            **head,
            "spec": {"predictor": {"minReplicas": config.replicas, **spec}},
        }
    ]


def pod_spec(config: Configuration, image: str, any_user: bool = False) -> Manifest:
    """Describe a pod as the restricted security standard wants it.

    Parameters
    ----------
    config : Configuration
    image : str
    any_user : bool, default False
        Leave out the ids of the user and its groups.
    """
    scratch = {"medium": "Memory", "sizeLimit": f"{config.scratch_mb}Mi"}
    user = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), HARDENING.user)
    spec: Manifest = {
        "automountServiceAccountToken": HARDENING.platform_credentials,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            **({} if any_user else user),
            "seccompProfile": {"type": HARDENING.system_calls},
        },
        "containers": [_container(config, image)],
        "volumes": [{"name": "tmp", "emptyDir": scratch}],
    }
    if config.has_secrets:
        secret = {"secretName": release_specs.secrets_volume(config.name), "defaultMode": 0o440}
        spec["volumes"].append({"name": "secrets", "secret": secret})
    return spec


def as_yaml(manifests: list[Manifest]) -> str:
    """Write manifests for ``kubectl apply -f -``.

    Examples
    --------
    >>> print(as_yaml([{"kind": "Service"}]), end="")
    kind: Service
    """
    return yaml.dump_all(manifests, Dumper=_WithoutAliases, sort_keys=False)


class _WithoutAliases(yaml.SafeDumper):
    """Writes a value that stands twice in full, twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never refer back."""
        return True


def _container(config: Configuration, image: str) -> Manifest:
    limits = {
        "cpu": f"{round(config.cpu_cores * 1000)}m",
        "memory": f"{round(config.memory_gb * 1024)}Mi",
    }
    mounts: list[Manifest] = [{"name": "tmp", "mountPath": HARDENING.scratch_folder}]
    if config.has_secrets:
        mounts.append({"name": "secrets", "mountPath": SECRETS_FOLDER, "readOnly": True})
    return {
        "name": "scoring",
        "image": image,
        "ports": [{"name": "http", "containerPort": SERVICE_PORT}],
        "env": [{"name": key, "value": value} for key, value in _environment(config).items()],
        "resources": {"limits": limits, "requests": limits},
        "startupProbe": {
            **_probe(config, READY_ROUTE),
            "periodSeconds": 1,
            "failureThreshold": config.timeouts.ready,
        },
        "readinessProbe": {
            **_probe(config, READY_ROUTE),
            "periodSeconds": 1,
            "failureThreshold": 2,
        },
        "livenessProbe": {**_probe(config, LIVE_ROUTE), "periodSeconds": 10, "timeoutSeconds": 5},
        "securityContext": {
            "privileged": HARDENING.privileged,
            "allowPrivilegeEscalation": HARDENING.new_privileges,
            "readOnlyRootFilesystem": HARDENING.read_only_root,
            "capabilities": {"drop": list(HARDENING.dropped_capabilities)},
        },
        "volumeMounts": mounts,
    }


def _environment(config: Configuration) -> dict[str, str]:
    # A pod has its address for itself, and is asked on its public port.
    found = release_specs.environment(config, probe_port=0)
    del found["PROBE_PORT"], found["REUSE_PORT"]
    found["DRAIN_SECONDS"] = str(max(BALANCED_DRAIN_SECONDS, config.timeouts.drain))
    return found


def _probe(config: Configuration, path: str) -> Manifest:
    return {"httpGet": {"path": path, "port": "http", "scheme": config.scheme.upper()}}


def _head(version: str, kind: str, config: Configuration) -> Manifest:
    metadata: Manifest = {"name": config.name, "labels": {"app.kubernetes.io/name": config.name}}
    if config.description or config.tags:
        metadata["annotations"] = {"description": config.description, **config.tags}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


FORMS: dict[str, Callable[[Configuration, str, bool], list[Manifest]]] = {
    "kubernetes": kubernetes,
    "kserve": kserve,
}
