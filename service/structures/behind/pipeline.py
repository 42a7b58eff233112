"""Pipelines as :func:`service.structures.encoders.split_model` leaves them: steps that mix columns.

One inside of another model may have any steps; here it has no structure then.

Next: :mod:`service.structures.kernel_machines`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from service.structures.behind.maps import read_behind_maps
from service.structures.behind.terms import read_behind_terms
from service.structures.encoders import are_linear, are_terms
from service.structures.family import Family, Read
from service.structures.structure import Structure


def read_behind(pipeline: Any, scale: str, read: Read) -> Structure | None:
    """Read an estimator with the steps before it, by what kind they are of."""
    *steps, estimator = [step for _, step in pipeline.steps]
    if are_terms(steps):
        return read_behind_terms(steps, estimator, scale)
    if are_linear(steps):
        return read_behind_maps(steps, estimator, scale, read)
    return None


def family(read: Read) -> Family:
    """Return the family of pipelines.

    Parameters
    ----------
    read : callable
        How the estimators at their ends are read.
    """
    return Family(library="sklearn", readers={"Pipeline": partial(read_behind, read=read)})
