"""Whose code an engine runs: what is called may not be made for several threads at once.

An engine that reads a model's structure runs this service's own code, and maybe the fitted steps
before the model. One that calls the model runs whatever that is: a function that keeps its last
answer in a global would answer one row with another's numbers. So the rows of one request, or of
one file, are computed in several threads only where everything comes from libraries that are known
to answer several threads at once. Next: :mod:`service.engines.surrogate`.
"""

from __future__ import annotations

import pickle
from functools import singledispatch
from io import BytesIO
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

LIBRARIES = ("service", "numpy", "scipy", "pandas", "sklearn", "lightgbm", "xgboost", "joblib")
# What pickles name of Python's own.
STANDARD = (
    "builtins",
    "None",
    "_codecs",
    "copyreg",
    "collections",
    "functools",
    "operator",
    "datetime",
)
KNOWN = frozenset([*LIBRARIES, *STANDARD])


def takes_threads(*parts: Any) -> bool:
    """Tell whether engines and models may be asked by several threads at once.

    Parameters
    ----------
    *parts : object
        They hold functions and classes of this service, NumPy, SciPy, pandas, scikit-learn,
        LightGBM and XGBoost alone, or else this says no; so it does for what cannot be pickled.

    Examples
    --------
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> takes_threads(FunctionTransformer(np.log1p))
    True
    >>> takes_threads(FunctionTransformer(lambda rows: rows))
    False
    """
    finder = _ForeignFinder(BytesIO(), protocol=pickle.HIGHEST_PROTOCOL)
    try:
        finder.dump(parts)
    except Exception:  # a foreign thing, or one that nobody can look into
        return False
    return True


class _ForeignFinder(pickle.Pickler):
    """A pickler that writes no arrays, and gives up at the first thing of an unknown library."""

    def persistent_id(self, thing: Any) -> str | None:
        """Look at a thing, and say what stands in the place of one that need not be written."""
        return _look_at(thing)


@singledispatch
def _look_at(thing: Any) -> str | None:
    """Look at what the thing consists of."""
    return None


@_look_at.register
def _(thing: np.ndarray) -> str | None:
    return _IN_ITS_PLACE[type(thing) is np.ndarray and not thing.dtype.hasobject]


@_look_at.register(FunctionType)
@_look_at.register(type)
def _look_up(thing: Any) -> str | None:
    """Refuse a function or class of an unknown library."""
    library = str(thing.__module__).partition(".")[0]
    if library not in KNOWN:
        raise TypeError(f"{thing!r} is of an unknown library")
    return None


@_look_at.register
def _(thing: BuiltinFunctionType) -> str | None:
    if not isinstance(thing.__self__, ModuleType | None):
        raise TypeError(f"{thing!r} is of something that it may change")
    return _look_up(thing)


# Nothing has to be looked at in an array of numbers.
_IN_ITS_PLACE = {True: "array", False: None}
