"""A family of models: what is said about some classes of a library, in one place.

Each module of a family (:mod:`service.structures.linear` and its neighbours) says it with one
:class:`Family` or a few; :mod:`service.structures.reading` collects them. Next:
:mod:`service.structures.linear`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.structures.class_names import library_name
from service.structures.encoders import Encoder
from service.structures.structure import Structure

# Takes a fitted estimator and the scale of the output that is explained. Returns None when that
# output has no known structure; raises UnsupportedStructureError when the inside cannot be read.
Reader = Callable[[Any, str], Structure | None]
# How models inside of others are read: takes a fitted estimator, and the scale of the output.
Read = Callable[[Any, str], Structure | None]
# Takes a fitted estimator and the names of its columns. Returns the preprocessing that it holds
# inside of itself with an estimator that comes after it, or None.
Opener = Callable[[Any, Sequence[str]], tuple[Encoder, Any] | None]


def keep_closed(estimator: Any, names: Sequence[str]) -> None:
    """Leave an estimator as it is: there is no preprocessing inside."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What is known about some classes of models.

    Attributes
    ----------
    library : str
        The package that the classes come from.
    readers : mapping of str to callable
        By class name: what turns a fitted estimator, and the scale of the output that is explained,
        into a structure.
    prefers_margin : bool
        True where a classifier's margin is the output that has a closed form.
    margin_option : str or None
        The option of ``predict`` that asks for the margin, where there is no ``decision_function``.
    open_estimator : callable
        What takes preprocessing out of an estimator that holds some inside of itself.
    """

    library: str
    readers: Mapping[str, Reader]
    prefers_margin: bool = False
    margin_option: str | None = None
    open_estimator: Opener = keep_closed

    def has(self, estimator: Any) -> bool:
        """Tell whether an estimator is of one of the classes."""
        if library_name(estimator) != self.library:
            return False
        return type(estimator).__name__ in self.readers

    def read(self, estimator: Any, scale: str) -> Structure | None:
        """Read an estimator of the family with the reader of its class."""
        return self.readers[type(estimator).__name__](estimator, scale)
