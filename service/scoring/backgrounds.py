"""Which example rows become the background.

| background | what is taken                                                                                   |
|------------|-------------------------------------------------------------------------------------------------|
| "whole"    | every example                                                                                   |
| "sample"   | a random subset (100 rows unless said otherwise)                                                 |
| "kmeans"   | weighted k-means centres (10), each coordinate moved to the nearest example's, as shap.kmeans does |
| "auto"     | engines with a closed form: the whole, up to what they can afford, then a sample; the black-box  |
|            | engine: the whole up to 100 rows, then k-means (a sample where columns are not all numbers)      |

A summary by k-means is a stop-gap for speed: the game on its centres can lie far from the game on all examples. The
manifest names the background that was used.
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
    examples: NDArray[Any], kind: str, size: int | None, *, affordable: int | None, random_state: int
) -> Background:
    """Make the background that an engine uses.

    Parameters
    ----------
    examples : ndarray of shape (n_examples, n_features)
    kind : {"auto", "whole", "sample", "kmeans"}
    size : int or None
        Rows of a sample, or number of centres; None for the defaults (100 and 10).
    affordable : int or None
        For engines with a closed form, the most rows they take whole; None for the black-box engine.
    random_state : int

    Raises
    ------
    ValueError
        When the kind is unknown, the size is not positive, or k-means is asked of columns that are not numbers.
    """
    if kind not in BACKGROUNDS:
        raise ValueError(f"background: expected one of {', '.join(BACKGROUNDS)}, got {kind!r}.")
    if size is not None and size < 1:
        raise ValueError(f"background_size: expected a positive number of rows, got {size}.")
    if kind == "auto":
        kind, size = _automatic(examples, size, affordable)
    if kind == "kmeans":
        return _centres(examples, size or DEFAULT_CENTRES, random_state)
    if kind == "sample":
        return _sample(examples, size or DEFAULT_SAMPLE, random_state)
    return Background.uniform(examples)


def _automatic(examples: NDArray[Any], size: int | None, affordable: int | None) -> tuple[str, int | None]:
    if affordable is not None:
        return ("whole", None) if len(examples) <= affordable else ("sample", size or affordable)
    if len(examples) <= DEFAULT_SAMPLE:
        return "whole", None
    return ("kmeans" if _is_finite(examples) else "sample"), size


def _sample(examples: NDArray[Any], size: int, random_state: int) -> Background:
    if size >= len(examples):
        return Background.uniform(examples)
    chosen = np.random.default_rng(random_state).choice(len(examples), size, replace=False)
    return Background.uniform(examples[np.sort(chosen)], "sample", len(examples))


def _centres(examples: NDArray[Any], n_centres: int, random_state: int) -> Background:
    """Summarise the examples by k-means centres, weighted by the number of examples they stand for."""
    from sklearn.cluster import KMeans  # needed when an explainer is built, never when one scores

    if not _is_finite(examples):
        raise ValueError("background='kmeans': expected numbers without missing values; use 'sample' or 'whole'.")
    distinct = len(np.unique(examples, axis=0))
    clusters = KMeans(min(n_centres, distinct), random_state=random_state, n_init=10).fit(examples)
    distance = np.abs(examples[None] - clusters.cluster_centers_[:, None])  # (n_centres, n_examples, n_features)
    nearest = np.take_along_axis(examples, distance.argmin(axis=1), axis=0)
    return Background.weighted(nearest, np.bincount(clusters.labels_), "kmeans", len(examples))


def _is_finite(examples: NDArray[Any]) -> bool:
    return examples.dtype != object and bool(np.isfinite(examples).all())
