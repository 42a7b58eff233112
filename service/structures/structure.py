"""What all structures have in common.

A structure says how an output of a model comes about, in terms of the columns that the model's last
step sees: margins, and a link from them to the output. It holds plain arrays, so that scoring needs
neither the model's own ``predict`` nor the library that fitted it. Next:
:mod:`service.structures.family`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.errors import UnsupportedStructureError
from service.shapley.games import Link
from service.structures.encoders import make_dense
from service.structures.links import Floats


@dataclass(frozen=True, kw_only=True)
class Structure:
    """How an output of a model comes about.

    Attributes
    ----------
    link : callable or None
        From margins (n, n_margins) to outputs (n, n_outputs); None where the margins are the
        outputs.
    rounding : float
        How far the model's own arithmetic is from double precision, relative to its largest output.
    """

    link: Link | None = None
    rounding: float = 0.0

    @property
    def has_closed_form(self) -> bool:
        """Whether the importances are exact where all examples are met: no link is in the way."""
        return self.link is None

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Structure | None:
        """Put the margins of several structures of this class side by side, without their links.

        Parameters
        ----------
        parts : sequence of structures of this class
            All of the same columns.

        Returns
        -------
        Structure or None
            None where there is no way to join them, as for this class.
        """
        return None

    def of_mapped_rows(self, matrix: Floats, shift: Floats) -> Structure | None:
        """Return the same outputs of rows that become rows · matrix + shift first.

        Parameters
        ----------
        matrix : ndarray of shape (n_columns, n_columns of this structure)
        shift : ndarray of shape (n_columns of this structure,)

        Returns
        -------
        Structure or None
            None where that is of another kind, as for all that look at columns one by one.
        """
        return None


@dataclass(frozen=True)
class Combinable(Structure, ABC):
    """Margins that are linear in some weights, so that several models can become one.

    They can be put side by side, mapped linearly and given more columns, which is all that
    calibration, averaging and one-versus-rest ask of them.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    """

    intercepts: Floats

    @abstractmethod
    def mapped(self, matrix: Floats, shift: Floats | float = 0.0) -> Self:
        """Return the margins matrix · margins + shift.

        Parameters
        ----------
        matrix : ndarray of shape (n_new_margins, n_margins)
        shift : ndarray of shape (n_new_margins,) or float
        """

    @abstractmethod
    def spread(self, columns: NDArray[np.intp], n_columns: int) -> Self:
        """Return the same margins of rows that have more columns.

        Parameters
        ----------
        columns : ndarray of int
            Where the columns of this structure are among the `n_columns`.
        n_columns : int
        """

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self | None:
        """Put the margins side by side; see :meth:`Structure.joined`."""
        if len(parts) == 1:
            return replace(parts[0], link=None)
        return cls._joined(parts)

    @classmethod
    @abstractmethod
    def _joined(cls, parts: Sequence[Self]) -> Self | None:
        """Put the margins of two and more side by side; None when they do not fit together."""


def join(parts: Sequence[Structure]) -> Structure | None:
    """Put the margins of several models of the same columns side by side, without their links.

    Parameters
    ----------
    parts : sequence of structures

    Returns
    -------
    Structure or None
        None unless there are some, all of one class that can be joined.

    Examples
    --------
    >>> from service.structures.linear import LinearStructure
    >>> up = LinearStructure(intercepts=np.zeros(1), coefficients=np.array([[1.0, 2.0]]))
    >>> down = LinearStructure(intercepts=np.ones(1), coefficients=np.array([[-1.0, 0.0]]))
    >>> join([up, down]).coefficients.tolist()
    [[1.0, 2.0], [-1.0, 0.0]]
    """
    kinds = {type(part) for part in parts}
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    return kind.joined(parts)


def n_columns_of(estimator: Any) -> int:
    """Return how many columns a fitted estimator takes.

    Raises
    ------
    UnsupportedStructureError
        When it does not say, as one that asks a transformer of the user's own for it.
    """
    n_columns = getattr(estimator, "n_features_in_", None)
    if n_columns is None:
        raise UnsupportedStructureError(
            f"{type(estimator).__name__} is not looked into, since what it hands its columns to "
            "has no n_features_in_."
        )
    return int(n_columns)


def as_floats(numbers: Any) -> Floats:
    """Return numbers of any kind, sparse ones too, as an array of double precision."""
    return np.asarray(make_dense(numbers), dtype=np.float64)


def joined_intercepts(parts: Sequence[Combinable]) -> Floats:
    """Return the intercepts of all parts, one after another."""
    return np.concatenate([part.intercepts for part in parts])


def placed_columns(matrix: Floats, columns: NDArray[np.intp], n_columns: int) -> Floats:
    """Put the columns of a matrix in their places among more columns, of zeros."""
    placed = np.zeros((len(matrix), n_columns))
    placed[:, columns] = matrix
    return placed
