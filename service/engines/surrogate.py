"""A surrogate: a small boosted-tree model of a model that can only be called.

It is fitted when an explainer is built, and serves as a control variate.
Its Shapley values on the same background are exact (:mod:`service.shapley.trees`), so only what it
misses is sampled: the estimate aims at the same values, however good or bad it is, and its error
shrinks with the residual. It is kept only where that pays, and it only helps: columns that it
cannot take are left out, and a surrogate that fails is none.

Source of the idea: Witter et al., "Regression-adjusted Monte Carlo Estimators for Shapley Values
and Probabilistic Values" (2025). Next: :mod:`service.engines.background_error`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background, spread_out
from service.shapley.games import BlackBoxGame, Function
from service.shapley.grouping import Grouping
from service.shapley.kernel import Sampling, kernel_shapley
from service.shapley.trees import Forest, TreeGame, affordable_rows
from service.structures.sklearn_trees import read_histogram_boosting
from service.structures.structure import placed_columns

N_FITTED_ROWS = 8_000
MOST_FEATURES = 200  # beyond, fitting takes longer than a data scientist waits
# Each output costs a model of its own; beyond, the surrogate would be slower than what it saves.
MOST_OUTPUTS = 3
PAYS_BELOW = 0.6  # of the standard error without it
N_TRIAL_ROWS = 4
TRIAL = Sampling(evaluations=4_000)


@dataclass(frozen=True)
class TreeControl:
    """Boosted trees, one model per output, with their exact Shapley values.

    See :class:`service.shapley.games.BlackBoxGame` for how a control is used.

    Attributes
    ----------
    models : tuple of HistGradientBoostingRegressor
    games : tuple of TreeGame
    columns : ndarray of int
        Those that it was fitted on; all others are nothing to it.
    """

    models: tuple[Any, ...]
    games: tuple[TreeGame, ...]
    columns: NDArray[np.intp]

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the surrogates' outputs, shape (n_rows, n_controls)."""
        taken = rows[:, self.columns]
        return np.stack([model.predict(taken) for model in self.models], axis=1)

    def shapley_values(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the surrogates' exact Shapley values, shape (n_controls, n_features)."""
        taken = row[self.columns]
        values = np.concatenate([game.shapley_values(taken) for game in self.games])
        return placed_columns(values, self.columns, len(row))


def with_surrogate(game: BlackBoxGame, examples: NDArray[Any], random_state: int) -> BlackBoxGame:
    """Return the game with a surrogate, or the game itself where a surrogate does not pay.

    Parameters
    ----------
    game : BlackBoxGame
    examples : ndarray of shape (n_examples, n_features)
        Only numbers can be fitted; with other columns the game is returned as it is.
    random_state : int

    Returns
    -------
    BlackBoxGame
    """
    is_out_of_range = not 2 <= examples.shape[1] <= MOST_FEATURES
    if examples.dtype == object or is_out_of_range or len(game.empty_value) > MOST_OUTPUTS:
        return game
    try:
        return _with_tried_surrogate(game, examples, random_state)
    except Exception:  # whatever a helper cannot do, the model may be able to
        return game


def _with_tried_surrogate(
    game: BlackBoxGame, examples: NDArray[Any], random_state: int
) -> BlackBoxGame:
    """Fit a surrogate, and keep it where it lowers the standard error of a few rows."""
    control = _fit(game.function, examples, game.background, random_state)
    if control is None:
        return game
    controlled = BlackBoxGame(game.function, game.background, game.call_bytes, control)
    pays = _error(controlled, examples) < PAYS_BELOW * _error(game, examples)
    return controlled if pays else game


def _fit(
    function: Function, examples: NDArray[Any], background: Background, random_state: int
) -> TreeControl | None:
    """Fit the model's outputs; None where the trees are too large to be explained exactly."""
    # Only a build needs it: a process that serves would load a hundred modules for nothing.
    from sklearn.ensemble import HistGradientBoostingRegressor

    hybrids = _hybrid_rows(examples, background, random_state)
    columns = _find_fittable_columns(hybrids)
    background = replace(background, rows=background.rows[:, columns])
    models, games = [], []
    for output in _free_outputs(function(hybrids)).T:
        model = HistGradientBoostingRegressor(
            max_iter=60, learning_rate=0.2, early_stopping=False, random_state=random_state
        ).fit(hybrids[:, columns], output)
        game = _tree_game(model, background)
        if game is None:
            return None
        models.append(model)
        games.append(game)
    return TreeControl(tuple(models), tuple(games), columns)


def _find_fittable_columns(rows: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find the columns that boosted trees can take: with some number, and without infinity."""
    is_fittable = ~np.isnan(rows).all(axis=0) & ~np.isinf(rows).any(axis=0)
    return np.flatnonzero(is_fittable)


def _hybrid_rows(
    examples: NDArray[Any], background: Background, random_state: int
) -> NDArray[np.float64]:
    """Mix examples with background rows: the rows on which the game evaluates the model."""
    rng = np.random.default_rng(random_state)
    rows = examples[rng.integers(len(examples), size=N_FITTED_ROWS)]
    drawn = rng.choice(len(background.rows), size=N_FITTED_ROWS, p=background.weights)
    # Every coalition size about equally often.
    taken = rng.random(rows.shape) < rng.random(len(rows))[:, None]
    return np.where(taken, rows, background.rows[drawn])


def _free_outputs(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave one output out where they sum to a constant: it says nothing more."""
    spread = np.ptp(outputs, axis=0).max()
    sums_to_constant = outputs.shape[1] > 1 and np.ptp(outputs.sum(axis=1)) <= 1e-9 * spread
    return outputs[:, 1:] if sums_to_constant else outputs


def _tree_game(model: Any, background: Background) -> TreeGame | None:
    structure = read_histogram_boosting(model, "prediction")
    n_features = background.rows.shape[1]
    forest = Forest.of(structure.trees, Grouping.identity(n_features))
    if affordable_rows(forest) < len(background.rows):
        return None
    return TreeGame(forest, structure.offset, background, structure.input_dtype, n_features)


def _error(game: BlackBoxGame, examples: NDArray[Any]) -> float:
    """Return the mean standard error over a few examples at a small budget."""
    few = spread_out(examples, N_TRIAL_ROWS)
    errors = [kernel_shapley(game, row, TRIAL).standard_errors.mean() for row in few]
    return float(np.mean(errors))
