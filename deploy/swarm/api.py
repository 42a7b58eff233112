"""Asks a swarm, through its manager's engine.

A thin seam like `deploy.engine.docker_engine`, which has the connection: bodies come ready from
`deploy.swarm.specs`, exceptions leave as those of `deploy.errors`, nothing is decided here.
Next: `deploy.swarm.state`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from deploy.engine.docker_engine import Body, Engine, follow, translated
from deploy.engine.labels import LABEL
from deploy.errors import BuildError, NotFoundError
from deploy.swarm.specs import Stored

Listed = dict[str, Any]  # as the engine lists it

LOG_SECONDS = 15  # a host that is lost sends nothing


class Swarm:
    """A swarm, seen from a manager.

    Parameters
    ----------
    engine : Engine
    name : str
        The deployment whose objects are listed.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._api = engine.api
        self._mine = {"label": [f"{LABEL}name={name}"]}

    # --- services and their tasks ---

    def services(self) -> list[Listed]:
        """List the deployment's services."""
        with translated("listing the swarm's services"):
            return self._api.services(filters=self._mine)

    def create_service(self, body: Body) -> None:
        """Create a service."""
        with translated(f"creating service {body['Name']}"):
            self._api.create_service(**_arguments(body))

    def update_service(self, service: Listed, body: Body) -> None:
        """Replace a service's description; the swarm begins to follow it."""
        with translated(f"updating service {body['Name']}"):
            self._api.update_service(service["ID"], service["Version"]["Index"], **_arguments(body))

    def remove_service(self, service: str) -> None:
        """Remove a service; one that is gone is fine."""
        with suppress(NotFoundError), translated(f"removing service {service}"):
            self._api.remove_service(service)

    def tasks(self, service: str) -> list[Listed]:
        """List the tasks of a service, past ones too, oldest first.

        Those of a service that is gone are listed until they have ended.
        """
        with translated("listing the swarm's tasks"):
            found = [task for task in self._api.tasks() if task["ServiceID"] == service]
        return sorted(found, key=lambda task: task["CreatedAt"])

    def log(self, task: str, lines: int | str) -> list[str]:
        """Read the last lines of a task's log, wherever it runs or ran.

        One by one: asked for those of a whole service, engine 20.10 sends some lines and then none,
        for ever. The client's package knows this request for services only.
        """
        with translated(f"reading the log of task {task}"):
            answer = self._api.get(
                f"{self._api.base_url}/v{self._api.api_version}/tasks/{task}/logs",
                params={"stdout": 1, "stderr": 1, "tail": lines},
                timeout=LOG_SECONDS,
            )
            answer.raise_for_status()
        return unpacked(answer.content).decode(errors="replace").splitlines()

    # --- nodes ---

    def membership(self) -> Listed:
        """Say which part the engine plays in which swarm."""
        with translated("asking the engine for its swarm"):
            found: Listed = self._api.info()["Swarm"]
        return found

    def nodes(self) -> dict[str, Listed]:
        """List the swarm's hosts by their ids."""
        with translated("listing the swarm's nodes"):
            return {node["ID"]: node for node in self._api.nodes()}

    # --- networks, secrets, configs ---

    def networks(self) -> list[Listed]:
        """List the deployment's networks."""
        with translated("listing networks"):
            return self._api.networks(filters=self._mine)

    def create_network(self, body: Body) -> str:
        """Create a network and return its id."""
        with translated(f"creating network {body['Name']}"):
            made = self._api.create_network(
                body["Name"], driver=body["Driver"], labels=body["Labels"], check_duplicate=True
            )
            return str(made["Id"])

    def remove_network(self, network: str) -> None:
        """Remove a network; one that is gone is fine."""
        with suppress(NotFoundError), translated(f"removing network {network}"):
            self._api.remove_network(network)

    def secrets(self) -> list[Stored]:
        """List the deployment's secrets; what is in them is never said."""
        with translated("listing secrets"):
            return self._api.secrets(filters=self._mine)

    def create_secret(self, body: Body, content: bytes) -> None:
        """Store a secret."""
        with translated(f"creating secret {body['name']}"):
            self._api.create_secret(data=content, **body)

    def remove_secret(self, secret: str) -> None:
        """Remove a secret; one that is gone is fine."""
        with suppress(NotFoundError), translated(f"removing secret {secret}"):
            self._api.remove_secret(secret)

    def configs(self) -> list[Stored]:
        """List the deployment's configs."""
        with translated("listing configs"):
            return self._api.configs(filters=self._mine)

    def create_config(self, body: Body, content: bytes) -> None:
        """Store a config."""
        with translated(f"creating config {body['name']}"):
            self._api.create_config(data=content, **body)

    def remove_config(self, config: str) -> None:
        """Remove a config; one that is gone is fine."""
        with suppress(NotFoundError), translated(f"removing config {config}"):
            self._api.remove_config(config)

    # --- images ---

    def push(self, image: str, repository: str, tag: str, on_line: Callable[[str], None]) -> str:
        """Send an image to a registry.

        Returns
        -------
        str
            The name by which every node finds exactly this image.
        """
        with translated(f"pushing to {repository}"):
            self._api.tag(image, repository, tag)
            follow(self._api.push(repository, tag, stream=True, decode=True), on_line)
            digests = self._api.inspect_image(image)["RepoDigests"]
        for digest in digests:
            if digest.startswith(f"{repository}@"):
                return str(digest)
        raise BuildError(f"pushing to {repository}: the registry gave the image no digest")


ARGUMENTS = {
    "Name": "name",
    "Labels": "labels",
    "TaskTemplate": "task_template",
    "Mode": "mode",
    "UpdateConfig": "update_config",
    "RollbackConfig": "rollback_config",
    "EndpointSpec": "endpoint_spec",
}


def unpacked(stream: bytes) -> bytes:
    """Put a log together from its frames.

    Each begins with a byte for the stream, three of nothing, and four for the length.
    """
    found, at = [], 0
    while at + 8 <= len(stream):
        (length,) = struct.unpack_from(">I", stream, at + 4)
        found.append(stream[at + 8 : at + 8 + length])
        at += 8 + length
    return b"".join(found)


def _arguments(body: Body) -> dict[str, Any]:
    return {ARGUMENTS[key]: value for key, value in body.items() if key in ARGUMENTS}
