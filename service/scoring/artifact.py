"""Saving and loading a scoring explainer and its original model, as joblib files with a manifest.

Loading a pickle executes it. So the file's SHA-256 is compared with the manifest's before a byte of
it is unpickled, and the library versions with those it was saved with. The digest tells a damaged
or swapped file, not a forged pair: load only folders that you trust. Next:
:mod:`service.scoring.importable`.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import warnings
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from pickle import PicklingError
from typing import Any

import joblib
import numpy as np

from service.engines.progress import steps_shown
from service.errors import ArtifactError, DigestError
from service.scoring.answer import plain
from service.scoring.explainer import KernelScoringExplainer
from service.scoring.importable import MAIN, find_unimportable
from service.scoring.manifest import (
    append_manifest,
    check_library_versions,
    heading,
    read_manifest,
    to_text,
)
from service.scoring.predictors import with_predict

ARTIFACT_NAME = "scoring_explainer.pkl"
MANIFEST_NAME = "scoring_explainer.json"
ORIGINAL_NAME = "original_model.pkl"
PIECE = 2**20  # bytes


def save(
    scoring_explainer: KernelScoringExplainer,
    directory: str | Path = ".",
    exist_ok: bool = False,
    *,
    original_model: Any = None,
) -> Path:
    """Write ``scoring_explainer.pkl`` with its manifest, and the original model beside them.

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
    ValueError
        When the explainer has transformations, and the model does not take raw rows.

    Warns
    -----
    UserWarning
        When it holds functions or classes that were defined in a notebook or script: no server can
        load them.

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
    folder = Path(directory)
    _check_arguments(scoring_explainer, folder, exist_ok)
    pickled = _pickled(scoring_explainer)
    with steps_shown("Saving the scoring explainer") as begin:
        begin("explaining examples, of which the standard error is recorded")
        described = scoring_explainer.to_dict()
    described["example"] = {"rows": [scoring_explainer.example]}
    files = {}
    if original_model is not None:
        _check_takes_raw_rows(original_model, scoring_explainer)
        original = _pickled(original_model)
        described["original_model"] = {"artifact": ORIGINAL_NAME, "sha256": _digest(original)}
        described["example"]["predictions"] = _predicted(original_model, scoring_explainer)
        files[ORIGINAL_NAME] = original
    content = append_manifest(pickled, {**heading(ARTIFACT_NAME, _digest(pickled)), **described})
    files[ARTIFACT_NAME] = content
    manifest = {**heading(ARTIFACT_NAME, _digest(content)), **described}
    _warn_of_unimportable([scoring_explainer, original_model])
    files[MANIFEST_NAME] = to_text(manifest).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, written in files.items():
        _replace(folder / name, written)
    return folder / ARTIFACT_NAME


def load(path: str | Path, *, check_versions: bool = True) -> KernelScoringExplainer:
    """Load a scoring explainer after checking that it is what its manifest says.

    Parameters
    ----------
    path : path
        The directory, or the file itself under any name. The manifest is the ``.json`` of the same
        name beside the file, or ``scoring_explainer.json``, or stands in the file itself: one that
        a registry has moved alone is loaded, and checked, too.
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
    manifest, n_behind = read_manifest(file, MANIFEST_NAME)
    with file.open("rb") as opened:
        _check_digest(opened, file, manifest.get("sha256"), n_behind)
        if check_versions:
            check_library_versions(file, manifest["libraries"])
        explainer = _unpickled(opened, file)
    if not isinstance(explainer, KernelScoringExplainer):
        raise ArtifactError(
            f"{file}: expected a KernelScoringExplainer, got {type(explainer).__name__}."
        )
    return explainer


def load_original_model(folder: str | Path) -> Any:
    """Load ``original_model.pkl`` from a folder, after checking it against the manifest.

    The manifest has its digest when :func:`save` wrote it. A model that was put there by
    ``joblib.dump`` has none, and only the library versions are compared.

    Parameters
    ----------
    folder : path
        Where the scoring explainer and its manifest are too.

    Returns
    -------
    object
        The model as it was saved.

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
            f"expected {ORIGINAL_NAME} and {ARTIFACT_NAME} in {folder}, found no {ORIGINAL_NAME}; "
            "run `make train`, or set AZUREML_MODEL_DIR to the folder that holds your models"
        )
    manifest, _ = read_manifest(file.with_name(ARTIFACT_NAME), MANIFEST_NAME)
    recorded = manifest.get("original_model", {}).get("sha256")
    with file.open("rb") as opened:
        if recorded is not None:
            _check_digest(opened, file, recorded)
        check_library_versions(file, manifest["libraries"])
        return _unpickled(opened, file)


def _check_arguments(scoring_explainer: Any, folder: Path, exist_ok: bool) -> None:
    if not isinstance(scoring_explainer, KernelScoringExplainer):
        raise TypeError(
            f"save: expected a KernelScoringExplainer, got {type(scoring_explainer).__name__}; "
            "make one with KernelScoringExplainer(explainer)."
        )
    if folder.is_file():
        raise NotADirectoryError(
            f"save: expected a directory, but {folder} is a file; name another one."
        )
    if folder.exists() and not exist_ok:
        raise FileExistsError(
            f"save: expected a new directory, but {folder} exists; pass exist_ok=True to write "
            "into it."
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_digest(
    opened: BufferedReader, file: Path, recorded: str | None, n_behind: int = 0
) -> None:
    """Refuse a file whose digest, but for some bytes at its end, is not the recorded one.

    It is read in pieces: a second copy of a large model would need memory that serving it does not.
    The same opened file is unpickled afterwards, whatever has taken its name meanwhile.
    """
    n_bytes = os.fstat(opened.fileno()).st_size - n_behind
    digest = hashlib.sha256()
    for start in range(0, n_bytes, PIECE):
        digest.update(opened.read(min(PIECE, n_bytes - start)))
    if digest.hexdigest() != recorded:
        raise DigestError(
            f"{file}: its SHA-256 is not the one in its manifest; it was changed or damaged. Save "
            "it again."
        )
    opened.seek(0)


def _predicted(original_model: Any, scoring_explainer: KernelScoringExplainer) -> list[Any]:
    schema = scoring_explainer.schema
    rows = schema.model_rows(schema.from_records([scoring_explainer.example]))
    return list(plain(with_predict(original_model).predict(rows)))


def _check_takes_raw_rows(original_model: Any, scoring_explainer: KernelScoringExplainer) -> None:
    """Refuse the model behind transformations in place of both, while the notebook is open.

    Raises
    ------
    ValueError
        When it does not answer the raw example as both do.
    """
    explainer = scoring_explainer.row_explainer
    function, recorded = explainer.function, explainer.example_output
    if explainer.n_engineered is None or recorded is None or not function.can_ask(original_model):
        return
    try:
        output = replace(function, model=original_model)(explainer.example)
        is_alike = output.shape == recorded.shape and np.all(
            np.abs(output - recorded) <= explainer.tolerance
        )
    except Exception:  # every library has its own
        is_alike = False
    if not is_alike:
        raise ValueError(
            "save: expected an original_model that takes raw rows, as the explainer does, got "
            f"{type(original_model).__name__}, which answers them otherwise; save the pipeline, "
            "make_pipeline(transformations, model)."
        )


def _warn_of_unimportable(models: list[Any]) -> None:
    """Say what a server could not load, and what to do, while the notebook is still open."""
    found = find_unimportable(models)
    if found:
        warnings.warn(
            f"save: the model holds {', '.join(found)}, which only this notebook or script knows: "
            "no server can load it. Put that into a module, a .py file on the server's Python "
            "path; import it here, fit the model with it, and save again.",
            UserWarning,
            stacklevel=3,
        )


def _pickled(model: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        joblib.dump(model, buffer)
    except (PicklingError, AttributeError, TypeError) as error:
        named = ", ".join(find_unimportable(model)) or "its functions"
        raise ArtifactError(
            f"save: the model cannot be pickled ({error}); define {named} by name in a module, a "
            ".py file on the server's Python path, and fit the model with that."
        ) from error
    return buffer.getvalue()


def _unpickled(opened: BufferedReader, file: Path) -> Any:
    try:
        return joblib.load(opened)
    except (ImportError, AttributeError) as error:
        cure = "the model needs the modules that it was saved with, so put them on the Python path"
        if MAIN in str(error):
            cure = (
                "it was defined in the notebook or script that saved the model, and is nowhere "
                "else; move it into a module that is on the Python path here, and save again"
            )
        raise ArtifactError(f"{file}: cannot be loaded here ({error}); {cure}.") from error
    except KeyError as error:
        raise ArtifactError(
            f"{file}: cannot be loaded here (this version of the service knows no {error}); build "
            "the explainer again and save it with this version, or load it with the one that saved."
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
            f"{path}: expected a saved scoring explainer, found none; write one with "
            "service.scoring.save."
        )
    return file
