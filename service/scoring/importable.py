"""What a model holds that another process cannot import: objects of a notebook, lambdas.

A pickle has functions and classes by name only. Those that were defined in a notebook or script are
in ``__main__``, which is another module on a server. Next: :mod:`service.scoring.manifest`.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from io import BytesIO
from types import FunctionType
from typing import Any

import numpy as np

MAIN = "__main__"


def find_unimportable(model: Any) -> list[str]:
    """Name the functions and classes in a model that no other process could import.

    Parameters
    ----------
    model : object

    Returns
    -------
    list of str
        Each once, with the line where it is defined for those that have no name of their own.

    Examples
    --------
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> find_unimportable(FunctionTransformer(np.log1p))
    []
    >>> found = find_unimportable(FunctionTransformer(lambda rows: rows))
    >>> found[0].split(" of ")[0]
    '<lambda>'
    """
    finder = _Finder(BytesIO(), protocol=pickle.HIGHEST_PROTOCOL)
    with suppress(Exception):  # what cannot be pickled ends the search, and is the last found
        finder.dump(model)
    return list(finder.found)


class _Finder(pickle.Pickler):
    """A pickler that notes what it meets and writes no arrays."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.found: dict[str, None] = {}

    def persistent_id(self, thing: Any) -> str | None:
        """Note a function or class that cannot be imported; leave arrays of numbers out."""
        if isinstance(thing, FunctionType | type):
            self._note(thing)
        holds_nothing = isinstance(thing, np.ndarray) and not thing.dtype.hasobject
        return "array" if holds_nothing else None

    def _note(self, thing: FunctionType | type) -> None:
        if _is_unimportable(thing):
            self.found[_describe(thing)] = None


def _is_unimportable(thing: FunctionType | type) -> bool:
    """Tell functions and classes of a notebook, and those that are inside of a function."""
    is_nameless = "<" in thing.__qualname__
    return is_nameless or thing.__module__ == MAIN


def _describe(thing: FunctionType | type) -> str:
    name = thing.__qualname__.split("<locals>.")[-1]
    if name == "<lambda>":
        assert isinstance(thing, FunctionType)
        name = f"{name} of line {thing.__code__.co_firstlineno}"
    return f"{name} of {thing.__module__}"
