"""Saving and loading a scoring explainer and its original model: joblib files and a readable
manifest beside them.

Loading a pickle executes it. So the file's SHA-256 is compared with the manifest's before a byte of
it is unpickled, and the library versions with those it was saved with. The digest tells a damaged
or swapped file, not a forged pair: load only folders that you trust. Next: ``service/web/app.py``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import PicklingError
from typing import Any

import joblib

from service.errors import ArtifactError, DigestError, ManifestError, VersionError
from service.scoring.explainer import KernelScoringExplainer

ARTIFACT_NAME = "scoring_explainer.pkl"
ORIGINAL_NAME = "original_model.pkl"
MANIFEST_FORMAT = 2
LIBRARIES = ("joblib", "numpy", "pandas", "scikit-learn", "scipy")


def save(
    scoring_explainer: KernelScoringExplainer,
    directory: str | Path = ".",
    exist_ok: bool = False,
    *,
    original_model: Any = None,
) -> Path:
    """Write ``scoring_explainer.pkl`` and its manifest ``scoring_explainer.json``, and the original
    model beside them.

    Parameters
    ----------
    scoring_explainer : KernelScoringExplainer
    directory : path, default "."
        Made when it is not there.
    exist_ok : bool, default False
        Whether the directory may exist already; what is in it under the same names is then
        replaced.
    original_model : object, optional
        The model that is served: ``original_model.pkl``. The manifest gets its digest, and what it
        predicts for the recorded example, so that a deployment can tell whether it still does.

    Returns
    -------
    pathlib.Path
        The file ``scoring_explainer.pkl``.

    Raises
    ------
    TypeError
        When it is another kind of explainer.
    FileExistsError
        When the directory exists and `exist_ok` is False.
    NotADirectoryError
        When `directory` is a file.
    ArtifactError
        When the model cannot be pickled.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> from service.scoring import KernelScoringExplainer, save
    >>> rows = pd.DataFrame({"size": [0.0, 1.0, 0.0, 1.0], "age": [0.0, 0.0, 1.0, 1.0]})
    >>> model = LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> scoring_explainer = KernelScoringExplainer(TabularExplainer(model, rows))
    >>> save(scoring_explainer, "my-models", original_model=model).name
    'scoring_explainer.pkl'
    """
    if not isinstance(scoring_explainer, KernelScoringExplainer):
        raise TypeError(
            f"save: expected a KernelScoringExplainer, got {type(scoring_explainer).__name__}; make one with "
            "KernelScoringExplainer(explainer)."
        )
    folder = Path(directory)
    if folder.is_file():
        raise NotADirectoryError(
            f"save: expected a directory, but {folder} is a file; name another one."
        )
    if folder.exists() and not exist_ok:
        raise FileExistsError(
            f"save: expected a new directory, but {folder} exists; pass exist_ok=True to write into it."
        )
    content = _pickled(scoring_explainer)
    original = None if original_model is None else _pickled(original_model)
    manifest = {
        "format": MANIFEST_FORMAT,
        "artifact": ARTIFACT_NAME,
        "sha256": hashlib.sha256(content).hexdigest(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        **scoring_explainer.to_dict(),
        "example": {"rows": [scoring_explainer.example]},
    }
    if original is not None:
        manifest["original_model"] = {
            "artifact": ORIGINAL_NAME,
            "sha256": hashlib.sha256(original).hexdigest(),
        }
        manifest["example"]["predictions"] = _predicted(original_model, scoring_explainer)
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ARTIFACT_NAME
    if original is not None:
        _replace(folder / ORIGINAL_NAME, original)
    _replace(path, content)
    _replace(path.with_suffix(".json"), f"{text}\n".encode())
    return path


def load(path: str | Path, *, check_versions: bool = True) -> KernelScoringExplainer:
    """Load a scoring explainer after checking that it is what its manifest says.

    Parameters
    ----------
    path : path
        The directory, or the file itself under any name. The manifest is the ``.json`` of the same
        name beside the file, or ``scoring_explainer.json``.
    check_versions : bool, default True
        Whether to refuse other library versions than those recorded. They can change results, or
        break loading.

    Returns
    -------
    KernelScoringExplainer

    Raises
    ------
    ArtifactError
        When nothing is there, the file holds something else, or it needs a module that cannot be
        imported here.
    ManifestError, DigestError, VersionError
        When the manifest is missing or unreadable, the digest differs, or a library version does.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> from service.scoring import KernelScoringExplainer, load, save
    >>> rows = pd.DataFrame({"size": [0.0, 1.0, 0.0, 1.0], "age": [0.0, 0.0, 1.0, 1.0]})
    >>> model = LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> path = save(KernelScoringExplainer(TabularExplainer(model, rows)), "saved")
    >>> load("saved").explain_rows(rows).values.shape
    (4, 2)
    """
    file = _artifact_file(Path(path))
    manifest = _read_manifest(file)
    content = _checked_bytes(file, manifest.get("sha256"))
    if check_versions:
        _check_versions(file, manifest["libraries"])
    explainer = _unpickled(file, content)
    if not isinstance(explainer, KernelScoringExplainer):
        raise ArtifactError(
            f"{file}: expected a KernelScoringExplainer, got {type(explainer).__name__}."
        )
    return explainer


def load_original_model(folder: str | Path) -> Any:
    """Load ``original_model.pkl`` from a folder, after checking it against the manifest where that
    has its digest.

    A model that was put there by ``joblib.dump``, and not by :func:`save`, has none.

    Raises
    ------
    ArtifactError
        When there is no such file, or it needs a module that cannot be imported here.
    ManifestError, DigestError, VersionError
        When the manifest is missing or unreadable, the digest differs, or a library version does.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> from service.scoring import KernelScoringExplainer, load_original_model, save
    >>> rows = pd.DataFrame({"size": [0.0, 1.0, 0.0, 1.0], "age": [0.0, 0.0, 1.0, 1.0]})
    >>> model = LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> scoring_explainer = KernelScoringExplainer(TabularExplainer(model, rows))
    >>> path = save(scoring_explainer, "both", original_model=model)
    >>> load_original_model("both").predict(rows).round(3).tolist()
    [0.0, 2.0, -1.0, 1.0]
    """
    file = Path(folder) / ORIGINAL_NAME
    if not file.is_file():
        raise ArtifactError(
            f"expected {ORIGINAL_NAME} and {ARTIFACT_NAME} in {folder}, found no {ORIGINAL_NAME}; run `make train`, or "
            "set AZUREML_MODEL_DIR to the folder that holds your models"
        )
    manifest = _read_manifest(file.with_name(ARTIFACT_NAME))
    recorded = manifest.get("original_model", {}).get("sha256")
    content = file.read_bytes() if recorded is None else _checked_bytes(file, recorded)
    _check_versions(file, manifest["libraries"])
    return _unpickled(file, content)


def _checked_bytes(file: Path, recorded: str | None) -> bytes:
    """Read a file whose digest is the recorded one; what is unpickled are these bytes, not the file
    a second time.
    """
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != recorded:
        raise DigestError(
            f"{file}: its SHA-256 is not the one in its manifest; it was changed or damaged. Save it again."
        )
    return content


def _predicted(original_model: Any, scoring_explainer: KernelScoringExplainer) -> list[Any]:
    schema = scoring_explainer.schema
    answer = original_model.predict(
        schema.model_rows(schema.from_records([scoring_explainer.example]))
    )
    return answer.tolist() if hasattr(answer, "tolist") else list(answer)


def _pickled(model: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        joblib.dump(model, buffer)
    except (PicklingError, AttributeError, TypeError) as error:
        raise ArtifactError(
            f"save: the model cannot be pickled ({error}); define its functions in a module."
        ) from error
    return buffer.getvalue()


def _unpickled(file: Path, content: bytes) -> Any:
    try:
        return joblib.load(io.BytesIO(content))
    except (ImportError, AttributeError) as error:
        raise ArtifactError(
            f"{file}: cannot be loaded here ({error}); the model needs the modules that it was saved with, so put them "
            "on the Python path."
        ) from error


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _artifact_file(path: Path) -> Path:
    file = path / ARTIFACT_NAME if path.is_dir() else path
    if not file.is_file():
        raise ArtifactError(
            f"{path}: expected a saved scoring explainer, found none; write one with service.scoring.save."
        )
    return file


def _read_manifest(file: Path) -> dict[str, Any]:
    beside = [file.with_suffix(".json"), file.with_name(ARTIFACT_NAME).with_suffix(".json")]
    manifest = next((candidate for candidate in beside if candidate.is_file()), None)
    if manifest is None:
        raise ManifestError(
            f"{file}: expected its manifest {beside[-1].name} beside it, found none; copy it along."
        )
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ManifestError(f"{manifest}: expected a JSON manifest, but {error}.") from error
    if not isinstance(content, dict) or content.get("format") != MANIFEST_FORMAT:
        raise ManifestError(
            f"{manifest}: expected a manifest of format {MANIFEST_FORMAT}; save the explainer again."
        )
    if not isinstance(content.get("libraries"), dict):
        raise ManifestError(
            f"{manifest}: expected the library versions under 'libraries'; save the explainer again."
        )
    return content


def _check_versions(file: Path, recorded: dict[str, str]) -> None:
    here = {name: _version_here(name) for name in recorded}
    differing = [
        f"{name} {saved} ({here[name]})"
        for name, saved in recorded.items()
        if here[name] != f"here {saved}"
    ]
    if differing:
        raise VersionError(
            f"{file}: saved with {', '.join(differing)}; install those versions, or save it again with these."
        )


def _version_here(name: str) -> str:
    try:
        return f"here {version(name)}"
    except PackageNotFoundError:
        return "not installed here"
