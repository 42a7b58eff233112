"""Deploying models of a workspace by the call that Azure ML's documents have.

::

    from deploy import deploy_configuration, deploy_from_model, image_configuration

    service = deploy_from_model(
        workspace=ws,
        name="model-scoring",
        deployment_config=deploy_configuration(cpu_cores=1, memory_gb=1),
        models=[scoring_explainer_model, original_model],
        image_config=image_configuration(execution_script="score.py", runtime="python"),
    )
    service.wait_for_deployment(show_output=True)

Next: `deploy.configuration`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.configuration import is_registered
from deploy.errors import ConfigurationError
from deploy.registry.store import registry_uri, without_credentials
from deploy.webservice import Webservice, deploy

WITH_VERSION = re.compile(r"(?P<name>[^/:@]+)(:(?P<version>\d+)|(?P<alias>@[\w.-]+))")


@dataclass(frozen=True)
class InferenceConfig:
    """What answers requests: the entry script, and what it needs.

    Parameters
    ----------
    entry_script : str, default "score.py"
        With ``init()`` and ``run(raw_data)``; in `source_directory`, where there is one.
    environment : str, default "requirements.lock"
        The lock of packages, with hashes.
    source_directory : str, default ""
        A folder whose files lie beside the entry script.
    dockerfile : str, optional
        The lines of the Dockerfile's build stage; by default those that install g++.

    Examples
    --------
    >>> InferenceConfig("score.py").keys_of_deploy_yml()
    {'entry_script': 'score.py', 'environment': 'requirements.lock'}
    """

    entry_script: str = "score.py"
    environment: str = "requirements.lock"
    source_directory: str = ""
    dockerfile: str | None = None

    def keys_of_deploy_yml(self, root: str | Path = ".") -> dict[str, Any]:
        """Return it as keys of deploy.yml; paths start from `root`."""
        keys: dict[str, Any] = {
            "entry_script": str(Path(self.source_directory, self.entry_script)),
            "environment": self.environment,
        }
        if self.source_directory:
            beside = sorted(Path(root, self.source_directory).glob("[!.]*"))
            keys["code"] = [os.path.relpath(path, root) for path in beside]
        if self.dockerfile is not None:
            keys["dockerfile"] = self.dockerfile
        return keys


def image_configuration(
    execution_script: str,
    runtime: str = "python",
    conda_file: str | None = None,
    docker_file: str | None = None,
) -> InferenceConfig:
    """Describe what answers requests, with the keywords of ``ContainerImage``.

    Parameters
    ----------
    execution_script : str
        The entry script.
    runtime : str, default "python"
        The only one.
    conda_file : path, optional
        The environment's description, as ``myenv.yml``. What is installed is the lock beside it,
        ``myenv.lock``.
    docker_file : path, optional
        A file with the lines of the Dockerfile's build stage.

    Raises
    ------
    ConfigurationError
        When the runtime is another, or a file is missing.

    Examples
    --------
    >>> image_configuration("score.py").entry_script
    'score.py'
    """
    if runtime != "python":
        raise ConfigurationError(f"runtime: expected python, got {runtime!r}")
    return InferenceConfig(
        execution_script,
        environment=_lock_of(conda_file) if conda_file else InferenceConfig.environment,
        dockerfile=_lines_of(Path(docker_file)) if docker_file else None,
    )


def _lock_of(conda_file: str) -> str:
    lock = Path(conda_file).with_suffix(".lock")
    if not lock.is_file():
        raise ConfigurationError(
            f"conda_file: expected {lock} beside {conda_file}, found none: an image is installed "
            f"from a lock with hashes; `uv pip compile --generate-hashes requirements.in "
            f"--output-file {lock}` compiles one"
        )
    return str(lock)


def _lines_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"docker_file: cannot read {file} ({error})") from error


def deploy_from_model(
    workspace: Any,
    name: str,
    models: Sequence[Any],
    inference_config: InferenceConfig | None = None,
    deployment_config: Mapping[str, Any] | None = None,
    *,
    image_config: InferenceConfig | None = None,
    deployment_target: None = None,
    overwrite: bool = False,
    root: str | Path = ".",
) -> Webservice:
    """Begin to deploy registered models of a workspace, and return at once.

    Parameters
    ----------
    workspace : service.runs.Workspace or str
        Or the address of its store.
    name : str
        The deployment's.
    models : sequence
        Registered models, as ``run.register_model`` and ``service.runs.Model`` return them, or
        ``name:3``, ``name@champion``, ``models:/name/3``.
    inference_config, image_config : InferenceConfig, optional
        What answers requests; one of them, by default ``score.py``.
    deployment_config : mapping, optional
        What `deploy.deploy_configuration` returned.
    deployment_target : None
        There is no other place than the engine of the configuration.
    overwrite : bool, default False
        Whether to replace what serves under the name, without losing a request.
    root : path, default "."
        The folder that paths start from.

    Returns
    -------
    Webservice
        Wait for it with `Webservice.wait_for_deployment`.

    Raises
    ------
    ConfigurationError
        When something cannot be used, or serves already and `overwrite` is False.
    """
    if deployment_target is not None:
        raise ConfigurationError(
            "deployment_target: expected None; the engine's address is the key `engine` of "
            "deploy_configuration"
        )
    if inference_config and image_config:
        raise ConfigurationError("expected inference_config or image_config, got both")
    answers = inference_config or image_config or InferenceConfig()
    config = {
        **answers.keys_of_deploy_yml(root),
        "tracking_uri": _tracking_uri(getattr(workspace, "uri", workspace), Path(root)),
        **(deployment_config or {}),
    }
    registered = list(map(_uri_of, models))
    if not overwrite:
        _refuse_to_replace(name, root, str(config.get("engine", "")))
    return deploy(name, registered, config, root)


def _uri_of(model: Any) -> str:
    """Return the address of a registered model, pinned to its version where it is an object."""
    if isinstance(model, str) and is_registered(model):
        return model
    if isinstance(model, str):
        found = WITH_VERSION.fullmatch(model)
        if found is None:
            raise ConfigurationError(
                f"models: expected NAME:VERSION, NAME@ALIAS or a registered model, got {model!r}; "
                "files are deployed by deploy(name, paths)"
            )
        return f"models:/{found['name']}{found['alias'] or '/' + found['version']}"
    try:
        return f"models:/{model.name}/{model.version}"
    except AttributeError:
        raise ConfigurationError(
            f"models: expected registered models, got a {type(model).__name__}"
        ) from None


def _tracking_uri(uri: Any, root: Path) -> str:
    """Return a workspace's address without credentials; the environment has these, or nobody."""
    if not isinstance(uri, str):
        raise ConfigurationError(
            f"workspace: expected a Workspace or the address of a store, got a {type(uri).__name__}"
        )
    shown = without_credentials(uri)
    if shown not in (uri, without_credentials(registry_uri("", root))):
        raise ConfigurationError(
            f"workspace: its address {shown} has a password in it, which no configuration keeps; "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI to "
            "the whole address"
        )
    return shown


def _refuse_to_replace(name: str, root: str | Path, engine: str) -> None:
    present = Webservice(name, Path(root), engine)
    try:
        release = present.status().release
    finally:
        present.close()
    if release:
        raise ConfigurationError(
            f"{name}: release {release} serves already; overwrite=True replaces it without losing "
            "a request"
        )
