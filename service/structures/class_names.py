"""Which class of which library an object is: all tables of this package go by class names.

A subclass that somebody else wrote may do anything, so it counts as a class of its library, not of
its parent's. Names need no import of the library that they belong to. Next:
:mod:`service.structures.searches`.
"""

from typing import Any


class Caller:
    """What asks a model in its place; messages name the model itself.

    Attributes
    ----------
    model : object
    """

    model: Any


def library_name(model: Any) -> str:
    """Return the package that an object's class comes from.

    >>> from sklearn.linear_model import Ridge
    >>> library_name(Ridge())
    'sklearn'
    """
    return type(model).__module__.split(".")[0]


def sklearn_name(model: Any) -> str:
    """Return the class name of scikit-learn's own classes, "" for every other.

    >>> from sklearn.linear_model import Ridge
    >>> sklearn_name(Ridge())
    'Ridge'
    >>> class Mine(Ridge):
    ...     pass
    >>> sklearn_name(Mine())
    ''
    """
    if library_name(model) != "sklearn":
        return ""
    return type(model).__name__
