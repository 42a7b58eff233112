"""The same verbs from Python, for a notebook.

::

    from deploy import deploy, deploy_configuration

    models = ["artifacts/original_model.pkl", "artifacts/scoring_explainer.pkl"]
    service = deploy("scoring", models, deploy_configuration(cpu_cores=2))
    service.wait_for_deployment(show_output=True)
    service.run(rows.to_json())

Next: `deploy.from_workspace`.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.configuration import Configuration, configuration, is_registered
from deploy.console import Console, RecordingConsole
from deploy.deployment import Deployment, opened
from deploy.engine.docker_engine import address_from
from deploy.errors import ConfigurationError, DeployError, NotDeployedError
from deploy.verbs.status import Status


def deploy_configuration(
    cpu_cores: float = 1,
    memory_gb: float = 1,
    tags: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
    description: str = "",
    **more: Any,
) -> dict[str, Any]:
    """Describe a deployment; what is wrong with it is said at once.

    Parameters
    ----------
    cpu_cores : float, default 1
    memory_gb : float, default 1
    tags, properties : mapping of str to str, optional
        Tags may be replaced later, properties may not.
    description : str, default ""
    **more
        Any other key of deploy.yml: ``port``, ``replicas``, ``auth_enabled``, ``entry_script``, ...

    Returns
    -------
    dict
        For `deploy`.

    Raises
    ------
    ConfigurationError
        When a value cannot be used.

    Examples
    --------
    >>> from deploy import deploy_configuration
    >>> wanted = deploy_configuration(cpu_cores=2, tags={"owner": "me"}, replicas=2)
    >>> wanted["cpu_cores"], wanted["replicas"]
    (2, 2)
    >>> deploy_configuration(cpu_cores=-1)
    Traceback (most recent call last):
        ...
    deploy.errors.ConfigurationError: ...cpu_cores: expected a number from 0.1 to 1024, got -1
    """
    values = {
        "cpu_cores": cpu_cores,
        "memory_gb": memory_gb,
        "tags": tags or {},
        "properties": properties or {},
        "description": description,
        **more,
    }
    configuration({"name": "unnamed", **values}, source="deploy_configuration")
    return values


def deploy(
    name: str,
    models: Sequence[str | Path],
    config: Mapping[str, Any] | None = None,
    root: str | Path = ".",
    *,
    take_over: bool = False,
) -> Webservice:
    """Begin a deployment, and return at once.

    Parameters
    ----------
    name : str
    models : sequence of path
        The original model and the scoring explainer. The example for the preflight is the
        ``examples.json`` beside the first, if there is one and the configuration names no other.
    config : mapping, optional
        What `deploy_configuration` returned.
    root : path, default "."
        The folder that paths start from.
    take_over : bool, default False
        Whether to replace what another project has deployed under the name.

    Returns
    -------
    Webservice
        Wait for it with `Webservice.wait_for_deployment`.
    """
    values = {"example": _example_beside(models, Path(root)), **(config or {})}
    checked = configuration(
        {**values, "name": name, "models": [str(path) for path in models]}, source="deploy"
    )
    service = Webservice(name, Path(root).resolve(), checked.engine, take_over=take_over)
    service._begin(lambda deployment: deployment.up(checked))
    return service


class Webservice:
    """A deployed service, by its name.

    Parameters
    ----------
    name : str
    root : path, default "."
        The folder whose ``.deploy`` holds the audit, and that relative paths start from.
    engine : str, default ""
        The engine's address; empty for DOCKER_HOST or this machine.
    take_over : bool, default False
        Whether to touch what another project has deployed under the name.
    """

    def __init__(
        self, name: str, root: str | Path = ".", engine: str = "", *, take_over: bool = False
    ) -> None:
        self.name = name
        self._root = Path(root)
        self._opened = ExitStack()
        address, quiet = address_from(engine), Console(quiet=True)
        found = opened(address, name, self._root, quiet, take_over=take_over)
        self._deployment = self._opened.enter_context(found)
        self._work: threading.Thread | None = None
        self._error: BaseException | None = None
        self._console = RecordingConsole()

    def wait_for_deployment(self, show_output: bool = False, timeout: float | None = None) -> None:
        """Wait until what was begun has ended.

        Parameters
        ----------
        show_output : bool, default False
            Whether to print the steps, those so far and those to come.
        timeout : float, optional
            Seconds; None waits as long as the configuration's own time-outs allow.

        Raises
        ------
        DeployError
            Whatever the deployment failed with.
        TimeoutError
            When it takes longer; it goes on.
        """
        if show_output:
            self._console.show()
        if self._work is not None:
            self._work.join(timeout)
            if self._work.is_alive():
                raise TimeoutError(
                    f"{self.name}: not deployed within {timeout} s; the deployment goes on"
                )
        if self._error is not None:
            raise self._error

    @property
    def state(self) -> str:
        """Healthy, Unhealthy, Transitioning or Absent."""
        return (
            "Transitioning"
            if self._work is not None and self._work.is_alive()
            else self.status().state
        )

    @property
    def scoring_uri(self) -> str:
        """Where rows are POSTed to; behind ssh it is the engine's host that loopback means."""
        return self._deployment.client(self._config()).uri

    def status(self) -> Status:
        """Return everything that is known about it."""
        return self._deployment.status()

    def run(self, data: str | bytes | Mapping[str, Any] | Sequence[Any]) -> Any:
        """Score rows.

        Parameters
        ----------
        data : str, bytes, mapping or sequence
            JSON text, or what becomes it.

        Returns
        -------
        Any
            The decoded answer.

        Raises
        ------
        RequestFailedError
            When the service refuses, or does not answer.
        """
        body = data if isinstance(data, str | bytes) else json.dumps(data)
        rows = body.encode() if isinstance(body, str) else body
        return json.loads(self._deployment.client_with_key(self._config()).score(rows))

    def get_logs(self, num_lines: int = 5000) -> str:
        """Return the last lines of every replica's log."""
        found = self._deployment.logs(num_lines)
        return "\n".join(itertools.chain.from_iterable(found.values()))

    def get_keys(self) -> tuple[str, str]:
        """Return the primary and the secondary key.

        Raises
        ------
        NotDeployedError
            When it has none.
        """
        keys = self._deployment.keys()
        if keys is None:
            raise NotDeployedError(f"{self.name}: has no keys; deploy it with auth_enabled=True")
        return keys

    def update(self, models: Sequence[str | Path] | None = None, **changes: Any) -> None:
        """Begin to replace what serves by the same with other keys of deploy.yml, or other models.

        Parameters
        ----------
        models : sequence of path, optional
            Builds a new image; without them the one that serves is used again.
        **changes
            ``cpu_cores``, ``memory_gb``, ``replicas``, ``tags``, ...
        """
        given: dict[str, Any] = {"name": self.name, **changes}
        if models:
            given["models"] = [str(path) for path in models]
        checked = configuration(given, source="update")
        wanted = {key: getattr(checked, key) for key in given}
        if models or REBUILT & set(changes):
            new = replace(self._config(), **wanted)
            self._begin(lambda deployment: deployment.up(new))
        else:
            self._begin(lambda deployment: deployment.change("update", **wanted))

    def rollback(self, release: str = "") -> None:
        """Go back to the release that served before, or to any that is kept."""
        self._deployment.rollback(release)

    def delete(self) -> None:
        """Remove the containers, releases, keys and images; once more does nothing."""
        self._deployment.down()

    def close(self) -> None:
        """Close the connection to the engine; the service goes on."""
        self._opened.close()

    def _config(self) -> Configuration:
        return self._deployment.serving().config

    def _begin(self, work: Callable[[Deployment], object]) -> None:
        if self._work is not None and self._work.is_alive():
            raise DeployError(f"{self.name}: still deploying; wait_for_deployment() first")

        def run() -> None:
            try:
                work(self._deployment.told_to(self._console))
            except BaseException as error:  # raised anew where somebody waits
                self._error = error

        self._error, self._console = None, RecordingConsole()
        self._work = threading.Thread(target=run, name=f"deploy {self.name}")
        self._work.start()


REBUILT = {"entry_script", "code", "environment", "dockerfile", "base_image", "example", "expected"}


def _example_beside(models: Sequence[str | Path], root: Path) -> str:
    if not models:
        raise ConfigurationError(
            "models: expected the original model and the scoring explainer, got none"
        )
    if is_registered(str(models[0])):
        return ""
    beside = Path(models[0]).parent / "examples.json"
    return str(beside) if (root / beside).is_file() else ""
