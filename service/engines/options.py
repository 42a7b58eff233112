"""How an engine is to be built. The options check themselves, here and nowhere else.

The one thing that they cannot know is whether `nsamples` is enough for the features of a model:
that is refused where the two meet (:class:`service.engines.sampled_engines.Effort`). Next:
:mod:`service.engines.backgrounds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np

from service.shapley.kernel import Stopping

ENGINES = ("auto", "kernel", "shap")
BACKGROUNDS = ("auto", "whole", "sample", "kmeans")
SIZED_BACKGROUNDS = ("sample", "kmeans")


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is to be built.

    :class:`service.explainers.TabularExplainer` says what each option means.

    Attributes
    ----------
    engine : {"auto", "kernel", "shap"}, default "auto"
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
        check_choice("engine", self.engine, ENGINES)
        check_choice("background", self.background, BACKGROUNDS)
        _check_background_size(self.background_size, self.background)
        _check_positive("tolerance", self.stopping.tolerance)
        _check_positive("time_budget", self.stopping.time_budget)
        if not isinstance(self.surrogate, bool):
            raise ValueError(f"surrogate: expected True or False, got {self.surrogate!r}.")
        object.__setattr__(self, "nsamples", _checked_nsamples(self.nsamples))
        object.__setattr__(self, "random_state", _checked_seed(self.random_state))


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises
    ------
    ValueError
        The message names the option and lists the choices.
    """
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}.")


def is_whole(value: Any, at_least: int) -> bool:
    """Tell whether a value is a whole number, numpy's included, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= at_least


def _check_background_size(size: Any, background: str) -> None:
    if size is None:
        return
    if not is_whole(size, at_least=1):
        raise ValueError(f"background_size: expected a positive number of rows, got {size!r}.")
    if background not in SIZED_BACKGROUNDS:
        raise ValueError(
            "background_size: expected with background='sample' or 'kmeans' only, got it with "
            f"background={background!r}."
        )


def _check_positive(name: str, value: Any) -> None:
    if value is None:
        return
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 < float(value) < np.inf:
        raise ValueError(f"{name}: expected a positive number, got {value!r}.")


def _checked_nsamples(nsamples: Any) -> str | int:
    if nsamples == "auto":
        return "auto"
    if not is_whole(nsamples, at_least=2):
        raise ValueError(
            f"nsamples: expected 'auto' or a number of coalitions of at least 2, got {nsamples!r}."
        )
    return int(nsamples)


def _checked_seed(seed: Any) -> int:
    if not is_whole(seed, at_least=0):
        raise ValueError(f"random_state: expected a whole number of at least 0, got {seed!r}.")
    return int(seed)
