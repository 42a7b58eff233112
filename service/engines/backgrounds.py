"""Which example rows become the background.

| background | what is taken                                                                       |
|------------|-------------------------------------------------------------------------------------|
| "auto"     | every example, up to what the engine can afford, then a random sample of them       |
| "whole"    | every example; where the model is called, every pair of coalitions meets all of     |
|            | them                                                                                |
| "sample"   | a random subset (100 rows unless said otherwise)                                    |
| "kmeans"   | weighted k-means centres (10), each coordinate moved to the nearest example's, as   |
|            | shap.kmeans does                                                                    |

The centres are there for parity with the Azure reference: the game on them can lie far from the
game on all examples. Next: :mod:`service.engines.progress`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.options import EngineOptions
from service.shapley.background import Background

DEFAULT_SIZES = {"sample": 100, "kmeans": 10}


def choose_background(
    examples: NDArray[Any], options: EngineOptions, affordable: int
) -> Background:
    """Make the background that an engine uses.

    Parameters
    ----------
    examples : ndarray of shape (n_examples, n_features)
    options : EngineOptions
        Of which count `background`, `background_size` and `random_state`.
    affordable : int
        The most rows that the engine takes whole by itself.

    Raises
    ------
    ValueError
        When k-means is asked of columns that are not numbers.
    """
    kind = options.background
    sizes = {"auto": affordable, "whole": len(examples), **DEFAULT_SIZES}
    take_rows = _find_centres if kind == "kmeans" else _take_sample
    return take_rows(examples, options.background_size or sizes[kind], options.random_state)


def _take_sample(examples: NDArray[Any], size: int, random_state: int) -> Background:
    if size >= len(examples):
        return Background.uniform(examples)
    chosen = np.random.default_rng(random_state).choice(len(examples), size, replace=False)
    return Background.uniform(examples[np.sort(chosen)], "sample", len(examples))


def _find_centres(examples: NDArray[Any], n_centres: int, random_state: int) -> Background:
    """Summarise the examples by k-means centres, each weighted by how many it stands for."""
    if not _is_finite(examples):
        raise ValueError(
            "background='kmeans': expected numbers without missing values; use 'sample' or 'whole'."
        )
    distinct, counts = np.unique(examples, axis=0, return_counts=True)
    if n_centres >= len(distinct):  # each is its own centre: nothing is left out
        return Background.weighted(distinct, counts, "whole", len(examples))
    # Only a build needs it: a process that serves would load a hundred modules for nothing.
    from sklearn.cluster import KMeans

    clusters = KMeans(n_centres, random_state=random_state, n_init=10).fit(examples)
    # Column by column the example that is nearest to each centre.
    closest = [np.abs(examples - centre).argmin(axis=0) for centre in clusters.cluster_centers_]
    nearest = np.take_along_axis(examples, np.array(closest), axis=0)
    return Background.weighted(nearest, np.bincount(clusters.labels_), "kmeans", len(examples))


def _is_finite(examples: NDArray[Any]) -> bool:
    return examples.dtype != object and bool(np.isfinite(examples).all())
