"""Which example rows become the background.

| background | what is taken                                                                                     |
|------------|---------------------------------------------------------------------------------------------------|
| "auto"     | every example, up to what the engine can afford, then a random sample of that size                |
| "whole"    | every example; where the model is called, every pair of coalitions meets all of them             |
| "sample"   | a random subset (100 rows unless said otherwise)                                                  |
| "kmeans"   | weighted k-means centres (10), each coordinate moved to the nearest example's, as shap.kmeans does |

The centres are there for parity with the Azure reference: the game on them can lie far from the
game on all examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background

BACKGROUNDS = ("auto", "whole", "sample", "kmeans")
DEFAULT_CENTRES = 10
DEFAULT_SAMPLE = 100


def choose_background(
    examples: NDArray[Any], kind: str, size: int | None, *, affordable: int, random_state: int
) -> Background:
    """Make the background that an engine uses.

    Parameters
    ----------
    examples : ndarray of shape (n_examples, n_features)
    kind : {"auto", "whole", "sample", "kmeans"}
    size : int or None
        Rows of a sample, or number of centres; None for the defaults (100 and 10).
    affordable : int
        The most rows that the engine takes whole by itself.
    random_state : int

    Raises
    ------
    ValueError
        When the kind is unknown, the size is not positive, or k-means is asked of columns that are
        not numbers.
    """
    if kind not in BACKGROUNDS:
        raise ValueError(f"background: expected one of {', '.join(BACKGROUNDS)}, got {kind!r}.")
    if size is not None and size < 1:
        raise ValueError(f"background_size: expected a positive number of rows, got {size}.")
    if kind == "kmeans":
        return _centres(examples, size or DEFAULT_CENTRES, random_state)
    if kind == "sample":
        return _sample(examples, size or DEFAULT_SAMPLE, random_state)
    return (
        _sample(examples, affordable, random_state)
        if kind == "auto"
        else Background.uniform(examples)
    )


def _sample(examples: NDArray[Any], size: int, random_state: int) -> Background:
    if size >= len(examples):
        return Background.uniform(examples)
    chosen = np.random.default_rng(random_state).choice(len(examples), size, replace=False)
    return Background.uniform(examples[np.sort(chosen)], "sample", len(examples))


def _centres(examples: NDArray[Any], n_centres: int, random_state: int) -> Background:
    """Summarise the examples by k-means centres, weighted by the number of examples they stand
    for.
    """
    from sklearn.cluster import KMeans  # needed when an explainer is built, never when one scores

    if not _is_finite(examples):
        raise ValueError(
            "background='kmeans': expected numbers without missing values; use 'sample' or 'whole'."
        )
    distinct = len(np.unique(examples, axis=0))
    clusters = KMeans(min(n_centres, distinct), random_state=random_state, n_init=10).fit(examples)
    closest = [
        np.abs(examples - centre).argmin(axis=0) for centre in clusters.cluster_centers_
    ]  # by column
    nearest = np.take_along_axis(examples, np.array(closest), axis=0)
    return Background.weighted(nearest, np.bincount(clusters.labels_), "kmeans", len(examples))


def _is_finite(examples: NDArray[Any]) -> bool:
    return examples.dtype != object and bool(np.isfinite(examples).all())
