"""How an engine is to be built. The options check themselves, here and nowhere else.

The one thing that they cannot know is whether `nsamples` is enough for the features of a model:
that is refused where the two meet (:class:`service.engines.sampled_engines.Effort`). Next:
:mod:`service.engines.backgrounds`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from numbers import Integral, Real
from typing import Any

import numpy as np

from service.shapley.kernel import Stopping

ENGINES = ("auto", "tree", "linear", "network", "kernel", "shap")
BACKGROUNDS = ("auto", "whole", "sample", "kmeans")
SIZED_BACKGROUNDS = ("sample", "kmeans")


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is to be built.

    :class:`service.explainers.TabularExplainer` says what each option means.

    Attributes
    ----------
    engine : {"auto", "tree", "linear", "network", "kernel", "shap"}, default "auto"
        A kind of model is looked into, and any other refused.
    background : {"auto", "whole", "sample", "kmeans"}, default "auto"
    background_size : int or None
    nsamples : "auto" or int, default "auto"
    random_state : int, default 0
    surrogate : bool, default True
    stopping : Stopping
        Tolerance and time budget.

    Raises
    ------
    ValueError
        When an option is unknown or out of range.
    """

    engine: str = "auto"
    background: str = "auto"
    background_size: int | None = None
    nsamples: str | int = "auto"
    random_state: int = 0
    surrogate: bool = True
    stopping: Stopping = field(default_factory=Stopping)

    def __post_init__(self) -> None:
        """Refuse what is out of range, and keep numpy's integers as Python's own."""
        object.__setattr__(self, "engine", check_choice("engine", self.engine, ENGINES))
        background = check_choice("background", self.background, BACKGROUNDS)
        object.__setattr__(self, "background", background)
        _check_background_size(self.background_size, self.background)
        _check_positive("tolerance", self.stopping.tolerance)
        _check_positive("time_budget", self.stopping.time_budget)
        _check("surrogate", self.surrogate, isinstance(self.surrogate, bool), "True or False")
        object.__setattr__(self, "nsamples", _checked_nsamples(self.nsamples))
        object.__setattr__(self, "random_state", _checked_seed(self.random_state))


def plain_word(value: Any) -> Any:
    """Return what a member of an Enum stands for; leave everything else.

    >>> Task = Enum("Task", {"Regression": "regression"})
    >>> plain_word(Task.Regression)
    'regression'
    """
    return value.value if isinstance(value, Enum) else value


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return the word that is chosen, given as such or as the member of an Enum.

    Raises
    ------
    ValueError
        When it is none of the choices; the message names the option and lists them.
    """
    word = plain_word(value)
    is_chosen = isinstance(word, str) and word in choices
    _check(name, word, is_chosen, f"one of {', '.join(choices)}")
    return str(word)


def check_different(name: str, values: Sequence[Any]) -> None:
    """Refuse names of which one is given twice.

    Raises
    ------
    ValueError
        Naming the option and what came twice.
    """
    counts = Counter(map(repr, values))
    twice, count = counts.most_common(1)[0] if counts else ("", 0)
    _check(name, list(values), count < 2, f"different names, but {twice} comes {count} times")


def check_jobs(n_jobs: Any) -> None:
    """Refuse what is no number of joblib jobs, also where the work is too short for jobs.

    Raises
    ------
    ValueError
        When it is neither None nor a whole number, or 0.

    Examples
    --------
    >>> check_jobs(None), check_jobs(-1)
    (None, None)
    """
    is_valid = n_jobs is None or (_is_integer(n_jobs) and n_jobs != 0)
    _check("n_jobs", n_jobs, is_valid, "a number of jobs, −1 for all processors, or None")


def is_whole(value: Any, at_least: int) -> bool:
    """Tell whether a value is a whole number, numpy's included, and no bool."""
    return _is_integer(value) and int(value) >= at_least


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check(name: str, value: Any, is_valid: bool, expected: str) -> None:
    if not is_valid:
        raise ValueError(f"{name}: expected {expected}, got {value!r}.")


def _check_background_size(size: Any, background: str) -> None:
    if size is None:
        return
    _check("background_size", size, is_whole(size, at_least=1), "a positive number of rows")
    if background not in SIZED_BACKGROUNDS:
        raise ValueError(
            "background_size: expected with background='sample' or 'kmeans' only, got it with "
            f"background={background!r}."
        )


def _check_positive(name: str, value: Any) -> None:
    if value is None:
        return
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    is_positive = is_number and 0 < float(value) < np.inf
    _check(name, value, is_positive, "a positive number")


def _checked_nsamples(nsamples: Any) -> str | int:
    if nsamples == "auto":
        return "auto"
    is_valid = is_whole(nsamples, at_least=2)
    _check("nsamples", nsamples, is_valid, "'auto' or a number of coalitions of at least 2")
    return int(nsamples)


def _checked_seed(seed: Any) -> int:
    is_valid = is_whole(seed, at_least=0)
    _check("random_state", seed, is_valid, "a whole number of at least 0")
    return int(seed)
