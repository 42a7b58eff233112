"""The one module that talks to the Docker Engine, with the client of the ``docker`` package.

Bodies of requests come ready-made from the ``specs`` modules, exceptions leave as those of
`deploy.errors`, and nothing is decided here. Next: `deploy.engine.labels`.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import docker
import requests
import urllib3
from docker.utils.socket import frames_iter

from deploy.engine.labels import LABEL
from deploy.errors import BuildError, ConflictError, EngineError, NotFoundError, UnreachableError

Body = dict[str, Any]

SECOND = 10**9  # the API counts in nanoseconds
# An image with nothing in it, for containers that are never started.
EMPTY_IMAGE = "scoring-deploy-empty:1"
START_IT = (
    "is Docker Engine installed and started, and may you use it (`docker info`)? "
    "On Debian: apt-get install docker.io"
)
CERTIFICATES = (
    "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to a folder with ca.pem, of the authority that "
    "signed the engine's certificate, and cert.pem and key.pem, by which the engine knows you"
)


@dataclass(frozen=True)
class Container:
    """A container as the engine lists it."""

    id: str
    name: str
    state: str
    image: str
    labels: Mapping[str, str]
    network: str = ""

    def label(self, key: str) -> str:
        """Read one of this package's labels."""
        return self.labels.get(LABEL + key, "")

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.state == "running"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Map the exceptions of the `docker` package, and say what was asked of the engine."""
    try:
        yield
    except tuple(TRANSLATIONS) as error:
        fitting = (kind for kind in TRANSLATIONS if isinstance(error, kind))
        raise TRANSLATIONS[next(fitting)](doing, error) from error


def _missing(doing: str, error: Any) -> EngineError:
    return NotFoundError(f"{doing}: {error.explanation}")


def _refused(doing: str, error: Any) -> EngineError:
    kind = ConflictError if error.status_code == 409 else EngineError
    said = str(error.explanation).rstrip(".")
    hint = f"; {CERTIFICATES}" if "HTTP request to an HTTPS server" in said else ""
    return kind(f"{doing}: the engine answered {error.status_code}: {said}{hint}")


def _without_certificates(doing: str, error: Any) -> EngineError:
    folder = os.environ.get("DOCKER_CERT_PATH") or "~/.docker"
    return UnreachableError(f"{doing}: no certificates in {folder}; {CERTIFICATES}")


def _untrusted(doing: str, error: Any) -> EngineError:
    return UnreachableError(f"{doing}: no trusted connection ({_innermost(error)}); {CERTIFICATES}")


def _late(doing: str, error: Any) -> EngineError:
    return UnreachableError(
        f"{doing}: the engine did not answer in time; see its log, and try again"
    )


def _unreachable(doing: str, error: Any) -> EngineError:
    return UnreachableError(f"{doing}: no Docker Engine answers ({_innermost(error)}); {START_IT}")


# What the client raises, and the function that makes an error of ours of it; the first that fits.
TRANSLATIONS: dict[type[Exception], Callable[[str, Any], EngineError]] = {
    docker.errors.NotFound: _missing,
    docker.errors.APIError: _refused,
    docker.errors.TLSParameterError: _without_certificates,
    requests.exceptions.SSLError: _untrusted,
    requests.exceptions.Timeout: _late,
    urllib3.exceptions.ReadTimeoutError: _late,
    docker.errors.DockerException: _unreachable,
    OSError: _unreachable,  # the base of what else `requests` raises, too
}


class Engine:
    """A Docker Engine.

    Parameters
    ----------
    address : str, default ""
        ``unix://`` or ``tcp://`` and where; empty for DOCKER_HOST or this machine's socket.
    timeout : int, default 120
        Seconds that the engine may take to answer.

    Raises
    ------
    UnreachableError
        When none answers.
    """

    def __init__(self, address: str = "", timeout: int = 120) -> None:
        where = address or os.environ.get("DOCKER_HOST") or "this machine's socket"
        with translated(f"connecting to the Docker Engine at {where}"):
            options = docker.utils.kwargs_from_env()
            if address:
                options["base_url"] = address
            with closing(
                _client(docker.constants.DEFAULT_DOCKER_API_VERSION, timeout, options)
            ) as asking:
                spoken: str = asking.version(api_version=False)["ApiVersion"]
            self.api = _client(spoken, timeout, options)
            try:
                self.info: dict[str, Any] = self.api.info()
            except BaseException:
                self.api.close()
                raise

    def close(self) -> None:
        """Close the connections."""
        self.api.close()

    # --- containers ---

    def create(self, name: str, body: Body) -> str:
        """Create a container and return its id; a name that is taken is a ConflictError."""
        with translated(f"creating container {name}"):
            return self.api.create_container_from_config(body, name)["Id"]

    def start(self, container: str) -> None:
        """Start a container."""
        with translated(f"starting container {container[:12]}"):
            self.api.start(container)

    def rename(self, container: str, name: str) -> None:
        """Give a container another name.

        It is the one thing of a container that can be changed and that everybody sees.
        """
        with translated(f"renaming a container to {name}"):
            self.api.rename(container, name)

    def stop(self, container: str, seconds: int) -> None:
        """Ask a container to end (SIGTERM), and end it after so many seconds.

        One that is gone is fine.
        """
        try:
            with translated(f"stopping container {container[:12]}"):
                self.api.stop(container, timeout=seconds)
        except NotFoundError:
            return

    def remove(self, container: str) -> None:
        """Remove a container, running or not; one that is gone is fine."""
        try:
            with translated(f"removing container {container[:12]}"):
                self.api.remove_container(container, force=True, v=True)
        except (NotFoundError, ConflictError):  # gone, or somebody else removes it now
            return

    def containers(self, name: str, role: str = "") -> list[Container]:
        """List the containers of a deployment, running or not, oldest first."""
        wanted = [f"{LABEL}name={name}"] + ([f"{LABEL}role={role}"] if role else [])
        with translated("listing containers"):
            found = self.api.containers(all=True, filters={"label": wanted})
        listed = sorted(found, key=lambda entry: entry["Created"])
        return [
            Container(
                entry["Id"],
                entry["Names"][0].lstrip("/"),
                entry["State"],
                entry["ImageID"],
                entry["Labels"],
                entry["HostConfig"]["NetworkMode"],
            )
            for entry in listed
            if entry["Names"]
        ]

    def inspect(self, container: str) -> dict[str, Any]:
        """Return everything that the engine knows about a container."""
        with translated(f"inspecting container {container[:12]}"):
            return self.api.inspect_container(container)

    def run_inside(self, container: str, command: list[str]) -> tuple[int, str]:
        """Run a command in a running container; return its exit code and what it wrote."""
        with translated(f"running {command[-1]} in container {container[:12]}"):
            created = self.api.exec_create(container, command)["Id"]
            # The client leaves the socket of a finished command open: so it is taken, read and
            # closed here.
            socket = self.api.exec_start(created, socket=True)
            try:
                output = b"".join(chunk for _, chunk in frames_iter(socket, tty=False))
            finally:
                socket._response.close()
            return self.api.exec_inspect(created)["ExitCode"], output.decode(errors="replace")

    def logs(self, container: str, lines: int | str = 15) -> list[str]:
        """Return the last lines of a container's log; "all" for all of them."""
        with translated(f"reading the log of container {container[:12]}"):
            return str(self.api.logs(container, tail=lines).decode(errors="replace")).splitlines()

    # --- files ---

    def put_files(self, container: str, folder: str, archive: bytes) -> None:
        """Unpack a tar archive into a container's folder, in its volumes too."""
        with translated(f"copying files into container {container[:12]}"):
            self.api.put_archive(container, folder, archive)

    def read_file(self, container: str, path: str) -> bytes:
        """Read one file of a container, running or not."""
        with translated(f"reading {path} of container {container[:12]}"):
            chunks, _ = self.api.get_archive(container, path)
            content = b"".join(chunks)
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            file = archive.extractfile(archive.next() or "")
            return file.read() if file else b""

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone is fine."""
        try:
            with translated(f"removing volume {name}"):
                self.api.remove_volume(name, force=True)
        except NotFoundError:
            return

    # --- images ---

    def image(self, name: str) -> dict[str, Any] | None:
        """Return what the engine knows about an image, or None."""
        try:
            with translated(f"inspecting image {name}"):
                return self.api.inspect_image(name)
        except NotFoundError:
            return None

    def images(self, name: str, role: str) -> list[dict[str, Any]]:
        """List the images of a deployment, newest first."""
        with translated("listing images"):
            found = self.api.images(
                filters={"label": [f"{LABEL}name={name}", f"{LABEL}role={role}"]}
            )
        return sorted(found, key=lambda image: -image["Created"])

    def remove_image(self, image: str) -> bool:
        """Remove an image that no container uses; say whether it is gone."""
        try:
            with translated(f"removing image {image}"):
                self.api.remove_image(image, force=True)
        except ConflictError:
            return False
        except NotFoundError:
            pass
        return True

    def pull(self, image: str, on_line: Callable[[str], None]) -> None:
        """Fetch an image from its registry."""
        with translated(f"pulling {image}"):
            follow(self.api.pull(image, stream=True, decode=True), on_line)

    def build(
        self, archive: bytes, options: Mapping[str, Any], on_line: Callable[[str], None]
    ) -> None:
        """Build an image from a context in memory; what the steps say goes to `on_line`.

        Raises
        ------
        BuildError
            When a step fails.
        """
        with translated("building the image"):
            stream = self.api.build(
                fileobj=io.BytesIO(archive), custom_context=True, decode=True, **options
            )
            follow(stream, on_line)

    def empty_image(self) -> str:
        """Make sure that there is an image with nothing in it, and return its name."""
        if self.image(EMPTY_IMAGE) is None:
            archive = io.BytesIO()
            tarfile.open(fileobj=archive, mode="w").close()
            with translated(f"making {EMPTY_IMAGE}"):
                repository, tag = EMPTY_IMAGE.split(":")
                self.api.import_image_from_data(archive.getvalue(), repository=repository, tag=tag)
        return EMPTY_IMAGE


def _client(version: str, timeout: int, options: Mapping[str, Any]) -> docker.APIClient:
    client = docker.APIClient(version=version, timeout=timeout, **options)
    # The authority of a client certificate must not give way to REQUESTS_CA_BUNDLE. version="auto"
    # would ask before.
    client.trust_env = False
    return client


def _innermost(error: BaseException) -> BaseException:
    # Two libraries have wrapped what the system or OpenSSL said.
    wrapped = (getattr(error, "reason", None), *error.args)
    inner = next((one for one in wrapped if isinstance(one, BaseException)), None)
    return error if inner is None else _innermost(inner)


def follow(events: Iterable[Mapping[str, Any]], on_line: Callable[[str], None]) -> None:
    """Hand on what the engine says while it works.

    Its events are read to the end even after an error: that closes the connection.

    Raises
    ------
    BuildError
        With the last error among them.
    """
    error = ""
    for event in events:
        error = str(event.get("error", error))
        for line in _lines(event):
            on_line(line)
    if error:
        raise BuildError(error)


def _lines(event: Mapping[str, Any]) -> list[str]:
    said = str(event.get("stream") or event.get("status") or "")
    return [line for line in said.splitlines() if line.strip()]


def address_from(configured: str, environ: Mapping[str, str] | None = None) -> str:
    """Choose the engine's address: the configuration's, else DOCKER_HOST's.

    Returns
    -------
    str
        Empty for this machine's socket.
    """
    environ = os.environ if environ is None else environ
    return configured or environ.get("DOCKER_HOST", "")
