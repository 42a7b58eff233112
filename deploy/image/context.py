"""What is sent to the engine to be built: exactly the files that the Dockerfile copies.

They are gathered from an allow-list. Two runs over the same files make the same bytes: names are
sorted, times are zero, everybody may read. Next: `deploy.image.application`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.configuration import Configuration
from deploy.console import last_lines
from deploy.contract import (
    APPLICATION_FACTORY,
    APPLICATION_MODULE,
    MANIFEST_METHOD,
    MODELS_FOLDER,
    ORIGIN_FILE,
    SCORE_ROUTE,
    SHAPS_METHOD,
)
from deploy.errors import BuildError, ConfigurationError
from deploy.image.application import PREFLIGHT_FOLDER, application, read
from deploy.image.pins import without
from deploy.image.recipe import dockerfile
from deploy.registry.fetching import fetched_models
from deploy.registry.origin import Origin, to_file

# Who asked, in the project's own lock, for what this machine needs and an image does not.
HOST_ONLY = "scoring-service (pyproject.toml:host)"

# The same application that the image runs, asked in this Python: the answer that a release must
# give. What the entry script prints is not the answer: it goes where errors go.
ANSWER_HERE = f"""
import os, sys
told = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
from {APPLICATION_MODULE} import {APPLICATION_FACTORY}
application = {APPLICATION_FACTORY}()
answer = application.test_client().post("{SCORE_ROUTE}", data=sys.stdin.buffer.read())
told.write(answer.data)
told.close()
sys.exit(answer.status_code != 200)
"""


@dataclass(frozen=True)
class Context:
    """The files of one image, by their path in the build context.

    Parameters
    ----------
    files : mapping of str to bytes
    config : Configuration
        With versions in place of the aliases of registered models.
    origins : tuple of Origin
        The registered models among them.
    """

    files: Mapping[str, bytes]
    config: Configuration
    origins: tuple[Origin, ...] = ()

    def digest(self, prefix: str = "", ignoring: str = "pip/") -> str:
        """Hash the files below a prefix; how pip reaches its index makes no other image."""
        content = hashlib.sha256()
        for path in sorted(self.files):
            if path.startswith(prefix) and not path.startswith(ignoring):
                content.update(f"{path}\0{len(self.files[path])}\0".encode())
                content.update(self.files[path])
        return content.hexdigest()

    def to_tar(self) -> bytes:
        """Write a tar archive without times, owners and other traces of this machine."""
        return tar(self.files)


def tar(files: Mapping[str, bytes], mode: int = 0o644, owner: int = 0, time: float = 0) -> bytes:
    """Write files as a tar archive that depends on nothing but them.

    Parameters
    ----------
    files : mapping of str to bytes
        Relative paths and contents.
    mode : int, default 0o644
    owner : int, default 0
        Numeric user and group.
    time : float, default 0
        When the files were changed, in seconds since 1970.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size = len(files[path])
            entry.mode = mode
            entry.uid = entry.gid = owner
            entry.mtime = time
            archive.addfile(entry, io.BytesIO(files[path]))
    return buffer.getvalue()


def gather(config: Configuration, root: Path, pip: Mapping[str, bytes]) -> Context:
    """Read everything that goes into the image.

    Parameters
    ----------
    config : Configuration
    root : Path
        The folder that the configuration's paths start from.
    pip : mapping of str to bytes
        What `deploy.image.pip_settings.pip_files` found.

    Raises
    ------
    ConfigurationError
        When a file is missing, or two would lie at one place.
    RegistryError
        When a registered model is not there, or not what was registered; nothing was loaded then.
    BuildError
        When the entry script does not answer the example here.
    """
    with fetched_models(config, root) as fetched:
        app = application(config, root, fetched.files)
    app |= _origin_file(fetched.origins, app)
    app |= _example(config, root, app)
    lock = without(read(root / config.environment, "environment").decode(), HOST_ONLY)
    return Context(
        {
            "Dockerfile": dockerfile(config).encode(),
            "requirements.lock": (lock if needs_shap(app) else without(lock, "shap")).encode(),
            **_below("pip", pip),
            **_below("app", app),
        },
        fetched.config,
        fetched.origins,
    )


def needs_shap(app: Mapping[str, bytes]) -> bool:
    """Say whether a manifest among the models names shap's own engine."""
    for path, content in app.items():
        is_manifest = path.startswith(f"{MODELS_FOLDER}/") and path.endswith(".json")
        if is_manifest and _method(content) == SHAPS_METHOD:
            return True
    return False


def _method(manifest: bytes) -> object:
    try:
        content = json.loads(manifest)
    except ValueError:
        return None  # some other file of the user's
    return content.get(MANIFEST_METHOD) if isinstance(content, dict) else None


def _origin_file(origins: Sequence[Origin], app: Mapping[str, bytes]) -> dict[str, bytes]:
    if not origins:
        return {}
    place = f"{MODELS_FOLDER}/{ORIGIN_FILE}"
    if place in app:
        raise ConfigurationError(
            f"models: a file would lie at {place}, where it is written which registered models the "
            "image has; rename it"
        )
    return {place: to_file(origins)}


def _below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{path}": content for path, content in files.items()}


def _example(config: Configuration, root: Path, app: Mapping[str, bytes]) -> dict[str, bytes]:
    if not config.example:
        return {}
    request = read(root / config.example, "example")
    expected = (
        _json(root, config.expected) if config.expected else answer_here(config, app, request)
    )
    return {
        f"{PREFLIGHT_FOLDER}/request.json": request,
        f"{PREFLIGHT_FOLDER}/expected.json": expected,
    }


def _json(root: Path, text: str) -> bytes:
    content = read(root / text, "expected")
    try:
        json.loads(content)
    except ValueError as error:
        raise ConfigurationError(
            f"expected: {root / text} is not JSON ({error}); record an answer of the service"
        ) from error
    return content


def answer_here(config: Configuration, app: Mapping[str, bytes], request: bytes) -> bytes:
    """Score a request with the image's own files in this machine's Python.

    Parameters
    ----------
    config : Configuration
    app : mapping of str to bytes
        The files that will be the image's folder of the application.
    request : bytes
        A body for the service.

    Returns
    -------
    bytes
        The answer that a release must give.

    Raises
    ------
    BuildError
        When the entry script fails or refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), app)
        entry_script = Path(folder, Path(config.entry_script).name)
        done = subprocess.run(
            [sys.executable, "-c", ANSWER_HERE],
            cwd=folder,
            env={
                **os.environ,
                **config.env,
                "AZUREML_MODEL_DIR": f"{folder}/{MODELS_FOLDER}",
                "ENTRY_SCRIPT": str(entry_script),
            },
            input=request,
            capture_output=True,
            timeout=config.timeouts.ready + config.timeouts.request,
            check=False,
        )
    if done.returncode != 0:
        held = re.findall(rf"(?m)^{MODELS_FOLDER}/([^/\n]+)", "\n".join(app))
        said = last_lines((done.stdout + b"\n" + done.stderr).decode(errors="replace").splitlines())
        raise BuildError(
            f"{config.entry_script}: expected an answer to {config.example} from this machine's "
            f"Python, got\n{said}\n"
            f"Its AZUREML_MODEL_DIR held {sorted({*held})}. "
            "Mend it first; or record an answer and name it by `expected`, or do without by "
            '`example: ""`.'
        )
    return done.stdout


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
