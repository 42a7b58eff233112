"""The value function v(S) = Σ_i w_i · f(x on S, b_i elsewhere) of a model that can only be called.

Games with more structure (linear, trees) need no value function: see :mod:`service.shapley.exact` and
:mod:`service.shapley.trees`. Next: :mod:`service.shapley.kernel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background

DEFAULT_CALL_BYTES = 64 * 2**20


class BlackBoxGame:
    """The game of a model on a background; the row comes with each call, so one game serves all rows and threads.

    Parameters
    ----------
    function : callable
        Takes rows of shape (n, n_features), returns outputs of shape (n, n_outputs).
    background : Background
    call_bytes : int, default 64 MiB
        Largest size of the rows handed to `function` in one call. A call never mixes two explained rows: many models
        give different last bits for the same row in a differently cut batch, and a row must not depend on its company.
    """

    def __init__(
        self,
        function: Callable[[NDArray[Any]], NDArray[np.float64]],
        background: Background,
        call_bytes: int = DEFAULT_CALL_BYTES,
    ) -> None:
        self.function = function
        self.background = background
        self.coalitions_per_call = max(1, call_bytes // background.rows.nbytes)
        self.empty_value = self._mean(function(background.rows)[None])[0]  # (n_outputs,)

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return v of all features together, the model's output for `row`, shape (n_outputs,)."""
        return self.function(row[None])[0]

    def values(self, row: NDArray[Any], members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Evaluate v for many coalitions of one row.

        Parameters
        ----------
        row : ndarray of shape (n_features,)
        members : ndarray of bool, shape (n_coalitions, n_features)
            True where the feature takes the row's value.

        Returns
        -------
        ndarray of shape (n_coalitions, n_outputs)
        """
        step = self.coalitions_per_call
        return np.concatenate(
            [self._values_in_one_call(row, members[start : start + step]) for start in range(0, len(members), step)]
        )

    def _values_in_one_call(self, row: NDArray[Any], members: NDArray[np.bool_]) -> NDArray[np.float64]:
        hybrids = np.where(members[:, None, :], row, self.background.rows)  # (n_coalitions, n_background, n_features)
        outputs = self.function(hybrids.reshape(-1, len(row)))
        return self._mean(outputs.reshape(len(members), len(self.background.rows), -1))

    def _mean(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average over the background: (n, n_background, n_outputs) to (n, n_outputs)."""
        return np.einsum("b,nbk->nk", self.background.weights, outputs)
