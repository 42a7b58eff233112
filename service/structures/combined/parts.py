"""Several models of different kinds, each behind preprocessing of its own.

Importances of a sum are the sums of importances, so its parts are explained one by one, and those
that are exact stay so. Behind a link nothing adds up: there all parts are sampled together, with
the margins that are known exactly as controls. That is done too with those parts of a sum that
have links: then their error is known, where errors of parts could only be bounded. Next:
:mod:`service.structures.combined.stacking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress, repeat
from operator import attrgetter
from typing import Any, cast

import numpy as np

from service.shapley.games import Link
from service.structures.encoders import Encoder, split_model
from service.structures.family import Read
from service.structures.linear import identity_readout
from service.structures.links import Floats, WeightedSum, chained
from service.structures.structure import Structure, n_columns_of

SAME = cast("Link", identity_readout)  # what a structure without a link is behind


@dataclass(frozen=True)
class Part:
    """One of the models whose predictions are added up, or come before a link.

    Attributes
    ----------
    encoder : Encoder
        From the columns of the whole to those of the structure.
    structure : Structure
    """

    encoder: Encoder
    structure: Structure

    @classmethod
    def bare(cls, structure: Structure, n_columns: int) -> Part:
        """Return a part that takes the columns of the whole as they are."""
        return cls(Encoder((), np.arange(n_columns)), structure)

    def behind(self, link: Link) -> Part:
        """Put a link behind the structure; see :func:`behind`."""
        return replace(self, structure=behind(self.structure, link))

    @property
    def is_sampled(self) -> bool:
        """Whether there is no closed form of its importances."""
        return not self.structure.has_closed_form


@dataclass(frozen=True)
class SumStructure(Structure):
    """A weighted sum of the predictions of models of different kinds.

    Attributes
    ----------
    parts : tuple of Part
        All of the same outputs.
    weights : ndarray of shape (n_parts,)
    intercept : float
    """

    parts: tuple[Part, ...]
    weights: Floats
    intercept: float = 0.0


@dataclass(frozen=True)
class StackedStructure(Structure):
    """A link behind the outputs of several models, side by side.

    Attributes
    ----------
    parts : tuple of Part
        Each is a structure behind a link, so that it is a game of margins.
    link : callable
        From the outputs of all parts, one after another.
    """

    parts: tuple[Part, ...]


def stacked(parts: Sequence[Part], link: Link) -> StackedStructure:
    """Put a link behind the outputs of several models.

    Parameters
    ----------
    parts : sequence of Part
    link : callable
        From the outputs of all parts, side by side, to outputs.

    Examples
    --------
    >>> from service.structures.linear import LinearStructure
    >>> margin = LinearStructure(intercepts=np.zeros(1), coefficients=np.array([[1.0, 2.0]]))
    >>> part = Part.bare(margin, 2)
    >>> whole = stacked([part, part], WeightedSum(np.ones(2)))
    >>> len(whole.parts), whole.link(np.array([[3.0, 4.0]])).tolist()
    (2, [[7.0]])
    """
    linked = tuple(map(Part.behind, parts, repeat(SAME)))
    return StackedStructure(linked, link=link, rounding=_rounding(parts))


def behind(structure: Structure, link: Link) -> Structure:
    """Put a link behind a structure of any kind; behind a sum all its parts come together.

    Parameters
    ----------
    structure : Structure
    link : callable
        From the structure's outputs.
    """
    if isinstance(structure, SumStructure):
        of_sum = WeightedSum(structure.weights, structure.intercept)
        return stacked(structure.parts, chained(of_sum, link))
    if structure.link is not None and link is SAME:
        return structure
    return replace(structure, link=chained(structure.link, link))


def added_up(
    parts: Sequence[Part], weights: Floats, n_columns: int, intercept: float = 0.0
) -> Structure | None:
    """Add up models; those that would be sampled one by one are sampled together.

    Parameters
    ----------
    parts : sequence of Part
        All of the same outputs.
    weights : ndarray of shape (n_parts,)
    n_columns : int
        Of the whole.
    intercept : float, default 0

    Returns
    -------
    Structure or None
        None where there are no parts, since one of the models could not be read.
    """
    if not parts:
        return None
    is_sampled = np.array(list(map(attrgetter("is_sampled"), parts)))
    if is_sampled.sum() < 2:
        return SumStructure(tuple(parts), weights, intercept, rounding=_rounding(parts))
    of_sampled = list(compress(parts, is_sampled))
    together = stacked(of_sampled, WeightedSum(weights[is_sampled]))
    if is_sampled.all():
        return replace(together, link=WeightedSum(weights, intercept))
    parts = [*compress(parts, ~is_sampled), Part.bare(together, n_columns)]
    weights = np.append(weights[~is_sampled], 1.0)
    return SumStructure(tuple(parts), weights, intercept, rounding=_rounding(parts))


def read_parts(
    estimator: Any, models: Sequence[Any], scales: Sequence[str], read: Read
) -> list[Part]:
    """Read the models inside of another, each with its preprocessing.

    Parameters
    ----------
    estimator : object
        What holds the models, and is given the columns.
    models : sequence of object
    scales : sequence of str
        The output of each model that is asked.
    read : callable

    Returns
    -------
    list of Part
        Empty where one of the models cannot be read.
    """
    n_columns = n_columns_of(estimator)
    names = list(map(str, getattr(estimator, "feature_names_in_", range(n_columns))))
    parts = []
    for model, scale in zip(models, scales, strict=True):
        part = _read_part(model, scale, names, read)
        if part is None:
            return []
        parts.append(part)
    return parts


def _read_part(model: Any, scale: str, names: Sequence[str], read: Read) -> Part | None:
    """Read a model with its preprocessing; None where one of them cannot be read."""
    split = split_model(model, len(names), names)
    if split is None:
        return None
    encoder, last = split
    structure = read(last, scale)
    if structure is None:
        return None
    return Part(encoder, structure)


def _rounding(parts: Sequence[Part]) -> float:
    return max(map(attrgetter("structure.rounding"), parts))
