"""Folders that interpret-community's ``save_explanation`` wrote, serialization version 1.

Such a folder holds ``explanation_metadata.json`` and a JSON file for each property, in which
``metadata`` names the type that ``data`` had. Next: :mod:`service.explanations.files.saving`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from service.engines.local_importances import LocalImportances
from service.errors import ArtifactError, ManifestError, expect
from service.explanations.context import ExplanationContext, count_rows
from service.explanations.files.consistency import (
    check_dense_size,
    check_numbers,
    check_outputs,
    check_overall,
    expect_heading,
)
from service.explanations.files.storage import NOT_FITTING, read_json
from service.explanations.global_explanation import GlobalExplanation
from service.explanations.global_importances import GlobalImportances
from service.explanations.local_explanation import LocalExplanation
from service.rows.tables import is_sparse

METADATA = "explanation_metadata.json"
VERSION = 1
MOST_CLASSES = 2**16  # that are numbered where they have no names
SPARSE = ("sparse", "DatasetWrapperSparse")


def read_reference(get: Callable[[str], bytes], place: str) -> LocalExplanation:
    """Make an explanation of a folder of interpret-community.

    Parameters
    ----------
    get : callable
        Returns the content of a file.
    place : str
        What the folder is called in errors.

    Raises
    ------
    ManifestError
        When the version is another, or a file is not what the metadata say.
    """
    metadata = read_json(get(METADATA), f"{place}/{METADATA}")
    found = metadata.get("serialization_version")
    if found != VERSION:
        raise ManifestError(
            f"{place}/{METADATA}: expected serialization_version {VERSION}, got {found!r}."
        )
    folder = _Folder(get, place, metadata)
    local = folder.read_local() if metadata["local"] else None
    if not metadata["global"]:
        if local is None:
            raise ManifestError(f"{place}/{METADATA}: expected a local or global explanation.")
        return LocalExplanation(local, folder.read_context())
    return GlobalExplanation(local, folder.read_context(), folder.read_overall())


class _Folder:
    """Reads the properties of one folder."""

    def __init__(
        self, get: Callable[[str], bytes], place: str, metadata: Mapping[str, Any]
    ) -> None:
        self.get = get
        self.place = place
        self.metadata = metadata

    def read(self, name: str, otherwise: Any = None) -> Any:
        """Return a property as the type that it had, something else where it was not stored."""
        try:
            content = self.get(f"{name}.json")
        except ArtifactError:
            return otherwise
        stored = read_json(content, f"{self.place}/{name}.json")
        try:
            return _make(stored["metadata"], stored["data"])
        except NOT_FITTING as error:
            raise ManifestError(
                f"{self.place}/{name}.json: expected what interpret-community writes, got "
                f"others ({type(error).__name__}: {error})."
            ) from error

    def read_array(self, name: str) -> NDArray[np.float64] | None:
        """Return a property as an array of finite numbers.

        Raises
        ------
        ManifestError
            When it is something else.
        """
        value = self.read(name)
        if value is None:
            return None
        try:
            array = _to_dense(value, self.metadata["num_features"])
        except NOT_FITTING as error:
            raise ManifestError(
                f"{self.place}/{name}.json: expected numbers, got {error}."
            ) from error
        if not np.isfinite(array).all():
            raise ManifestError(f"{self.place}/{name}.json: expected finite numbers.")
        return array

    def describe(self, n_features: int) -> dict[str, Any]:
        """Return what local and global importances of so many features have in common."""
        described = {
            "features": list(map(str, self.read("features", range(n_features)))),
            "method": self.metadata["method"],
            "output": "unknown",
            "classes": None,
            "expected_values": self.read_array("expected_values"),
        }
        if self.metadata["model_type"] == "classification":
            classes = self.read("classes")
            return {**described, "classes": self._number_classes() if classes is None else classes}
        if np.size(described["expected_values"]) == 1 and self.has("expected_values"):
            described["expected_values"] = np.reshape(described["expected_values"], ())
        return described

    def _number_classes(self) -> list[int]:
        n_classes = self.metadata["num_classes"]
        expect_heading(
            n_classes in range(MOST_CLASSES), self.place, "a number of classes", n_classes
        )
        return list(range(n_classes))

    def has(self, name: str) -> bool:
        """Tell whether a property was stored."""
        return self.read(name) is not None

    def read_local(self) -> LocalImportances:
        """Return the local values."""
        values = self.read_array("local_importance_values")
        if values is None:
            raise ManifestError(
                f"{self.place}: expected local_importance_values.json in it, found none."
            )
        expect_heading(values.ndim in (2, 3), self.place, "rows and features", values.shape)
        local = LocalImportances(values=values, **self.describe(values.shape[-1]))
        check_outputs(local, math.prod(values.shape[:-2]), values.shape[-1], self.place)
        return local

    def read_overall(self) -> GlobalImportances:
        """Return the global values as they were stored."""
        values = self.read_array("global_importance_values")
        if values is None:
            raise ManifestError(
                f"{self.place}: expected global_importance_values.json in it, found none."
            )
        per_class = self.read_array("per_class_values")
        expect_heading(values.ndim == 1, self.place, "a global value of each feature", values.shape)
        overall = GlobalImportances(
            values=values,
            per_class=values[None] if per_class is None else per_class,
            n_rows=self.metadata["num_examples"] or count_rows(self.read("eval_data", ())),
            **self.describe(len(values)),
        )
        check_overall(overall, self.place)
        return overall

    def read_labels(self, name: str) -> NDArray[Any] | None:
        """Return predictions."""
        labels = self.read(name)
        return None if labels is None else np.asarray(labels)

    def read_context(self) -> ExplanationContext:
        """Return what is known beside the numbers."""
        return ExplanationContext(
            id=self.metadata["explanation_id"],
            model_task=self.metadata["model_task"],
            model_type=self.metadata["model_class"] or "",
            is_raw=self.metadata["is_raw"],
            is_engineered=self.metadata["is_engineered"],
            eval_data=self.read("eval_data"),
            init_data=self.read("init_data"),
            eval_y_predicted=self.read_labels("eval_y_predicted"),
            eval_y_predicted_proba=self.read_labels("eval_y_predicted_proba"),
        )


def _make(kind: Any, data: Any) -> Any:
    """Return data as the type that it had."""
    if kind in SPARSE:
        return _read_sparse(data)
    if kind == "DataFrame":
        return pd.DataFrame(data)
    return data if kind in ("list", "other") else np.asarray(data)


def _read_sparse(data: Any) -> Any:
    """Return a sparse matrix, or one for each class."""
    if isinstance(data[0][0], list):
        return list(map(_read_csr, data))
    return _read_csr(data)


def _read_csr(data: Any) -> Any:
    values, indices, indptr, shape = data
    matrix = csr_array((values, indices, indptr), shape=tuple(shape))
    matrix.check_format(full_check=True)
    return matrix


def _to_dense(value: Any, n_features: int) -> NDArray[np.float64]:
    """Return numbers as an array, those of sparse matrices too where they are not too large."""
    if is_sparse(value):
        return _stack_dense([value], n_features)[0]
    if isinstance(value, list) and any(map(is_sparse, value)):
        return _stack_dense(value, n_features)
    return check_numbers(value)


def _stack_dense(matrices: list[Any], n_features: int) -> NDArray[np.float64]:
    shapes = {matrix.shape for matrix in matrices}
    fits = len(shapes) == 1 and matrices[0].shape[1] == n_features
    expect(fits, f"shapes {shapes} for {n_features} features", ValueError)
    check_dense_size(len(matrices), *matrices[0].shape)
    return np.stack([matrix.toarray().astype(np.float64) for matrix in matrices])
