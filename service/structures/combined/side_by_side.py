"""Models side by side: one for each target, or one for each class.

| model                 | is                                                                       |
|-----------------------|--------------------------------------------------------------------------|
| MultiOutputRegressor  | the predictions of one model for each target                             |
| MultiOutputClassifier | the probabilities of one classifier for each target, one after another   |
| OneVsRestClassifier   | the margins of one binary model for each class; its probabilities, which |
|                       | are scaled to sum 1 unless a row may have several labels                 |

Models of one kind become a structure with more margins; those of several kinds, or with
preprocessing of their own, are sampled together around the margins that are known exactly. Next:
:mod:`service.structures.wrappers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from operator import attrgetter
from typing import Any

import numpy as np

from service.shapley.games import Link
from service.structures.combined.parts import SAME, Part, read_parts, stacked
from service.structures.combined.stacking import without_first_of_two
from service.structures.family import Read
from service.structures.links import Joined, chained, shares_of
from service.structures.structure import Structure, join
from service.structures.trees import TreeStructure

# What is behind the probabilities of each class by itself, by the scale and whether a row may be
# of several.
_LINKS_OF_CLASSES: dict[tuple[str, bool], Link] = {
    ("probability", False): partial(shares_of, total_of_none=0.0)
}


def read_several_targets(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Put the models of MultiOutputRegressor or MultiOutputClassifier side by side."""
    return _side_by_side(_read_each(estimator, scale, read), SAME)


def read_one_versus_rest(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Put the binary models of OneVsRestClassifier side by side; for two classes it has one."""
    models = estimator.estimators_
    if len(models) == 1:
        return read(models[0], scale)
    parts = _read_each(estimator, scale, read)
    of_class = list(map(without_first_of_two, parts, repeat(scale), repeat(2)))
    asked = scale, estimator.multilabel_
    return _side_by_side(of_class, _LINKS_OF_CLASSES.get(asked, SAME))


def _read_each(estimator: Any, scale: str, read: Read) -> list[Part]:
    models = estimator.estimators_
    return read_parts(estimator, models, [scale] * len(models), read)


def _side_by_side(parts: Sequence[Part], link: Link) -> Structure | None:
    """Put a link behind the outputs of all models; None where there are none that can be read."""
    if not parts:
        return None
    joined = _joined(parts)
    if joined is None:
        return stacked(parts, link)
    return joined if link is SAME else replace(joined, link=chained(joined.link, link))


def _joined(parts: Sequence[Part]) -> Structure | None:
    """Put models of one kind that see the columns as they are into one structure."""
    structures = list(map(attrgetter("structure"), parts))
    links = tuple(map(attrgetter("link"), structures))
    margins = None if any(map(attrgetter("encoder.steps"), parts)) else join(structures)
    if margins is None or not any(links):
        return margins
    ends = np.cumsum(list(map(count_margins, structures)))
    return replace(margins, link=Joined(links, tuple(ends.tolist())))


def count_margins(structure: Any) -> int:
    """Return how many margins a structure has."""
    constants = structure.offset if isinstance(structure, TreeStructure) else structure.intercepts
    return len(constants)
