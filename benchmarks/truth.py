"""Reference importances by routes that share no code and no estimator with the engines under test.

| route          | for                              | how                                          |
|----------------|----------------------------------|----------------------------------------------|
| `additive`     | linear margins                   | one column swapped at a time: v({j}) − v(∅)  |
| `enumerated`   | 12 features and fewer            | every coalition, Shapley's own weights       |
| `terms`        | sums of functions of few columns | every coalition of each term, added up       |
| `rbf_sum`      | RBF machines                     | Π(q + p·z) multiplied out, by coalition size |
| `leaves`       | trees, forests, boosting         | each leaf's closed form, in double precision |
| `permutations` | everything else                  | antithetic permutations of every row         |

All are exact but the last, which comes with its standard error. Results are kept in
``benchmarks/.cache``; the file's name is a digest of all that goes in. Next:
:mod:`benchmarks.peers`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from math import factorial
from pathlib import Path

import numpy as np

CACHE = Path(__file__).parent / ".cache"
VERSION = "1"  # goes into the digest: raise it when a route changes
CHUNK_ROWS = 8192


@dataclass(frozen=True)
class Background:
    """Weighted rows, (n_background, n_features); the weights add up to 1."""

    rows: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, rows, weights=None):
        weights = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=float)
        return cls(np.asarray(rows, dtype=float), weights / weights.sum())


@dataclass(frozen=True)
class Truth:
    """Importances (n_rows, n_outputs, n_features), and the standard error of each: 0 where the
    route is exact.
    """

    values: np.ndarray
    errors: np.ndarray

    @classmethod
    def exact(cls, values):
        values = np.asarray(values)
        return cls(values, np.zeros_like(values))

    @property
    def scale(self):
        """Mean |φ|, the unit of every reported error."""
        return np.abs(self.values).mean()

    @property
    def noise(self):
        """The truth's own error in that unit."""
        return np.sqrt((self.errors**2).mean()) / self.scale


def cached(route, function, background, rows, label):
    """Run a route, or read what it gave before for the same model, background and rows."""
    probe = function(np.concatenate([rows, background.rows[:32]]))
    digest = sha256(repr((VERSION, label)).encode())
    for array in (probe.round(9), background.rows, background.weights, rows):
        digest.update(np.ascontiguousarray(array).tobytes())
    path = CACHE / f"{digest.hexdigest()[:24]}.npz"
    if not path.exists():
        truth = route(function, background, rows)
        CACHE.mkdir(exist_ok=True)
        np.savez(path, values=truth.values, errors=truth.errors)
    stored = np.load(path)
    return Truth(stored["values"], stored["errors"])


def additive(function, background, rows):
    """Swap one column at a time; right for sums of functions of one column only, which is
    checked.
    """
    empty = background.weights @ function(background.rows)
    values = np.empty((len(rows), len(empty), rows.shape[1]))
    for i, row in enumerate(rows):
        for j in range(rows.shape[1]):
            hybrids = background.rows.copy()
            hybrids[:, j] = row[j]
            values[i, :, j] = background.weights @ function(hybrids) - empty
    missed = np.abs(values.sum(axis=2) + empty - function(rows)).max()
    assert missed < 1e-9, f"not additive: {missed}"
    return Truth.exact(values)


def enumerated(function, background, rows):
    """Evaluate all 2^n coalitions."""
    return Truth.exact([_enumerated_row(function, background, row) for row in rows])


def terms(parts):
    """Make a route for f(x) = Σ part(x[columns]); `parts` is a list of (columns, function of those
    columns).
    """

    def route(function, background, rows):
        values = np.zeros((len(rows), 1, rows.shape[1]))
        for columns, part in parts:
            own = Background(background.rows[:, columns], background.weights)
            values[:, :, columns] += enumerated(
                lambda X, f=part: f(X)[:, None], own, rows[:, columns]
            ).values
        gap = function(rows) - background.weights @ function(background.rows)
        assert np.abs(values.sum(axis=2) - gap).max() < 1e-9
        return Truth.exact(values)

    return route


def _enumerated_row(function, background, row):
    n = len(row)
    members = np.array(
        list(product([False, True], repeat=n))
    )  # coalition c has feature j at bit n − 1 − j
    games = np.concatenate(
        [
            _coalition_values(function, background, row, part)
            for part in np.array_split(members, max(1, len(members) // 64))
        ]
    )
    sizes = members.sum(axis=1)
    weight = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
    values = np.empty((games.shape[1], n))
    for j in range(n):
        without = np.flatnonzero(~members[:, j])
        values[:, j] = weight[sizes[without]] @ (games[without + 2 ** (n - 1 - j)] - games[without])
    return values


def _coalition_values(function, background, row, members):
    hybrids = np.where(members[:, None, :], row, background.rows).reshape(-1, len(row))
    outputs = function(hybrids)
    return np.einsum(
        "b,cbk->ck", background.weights, outputs.reshape(len(members), len(background.rows), -1)
    )


def rbf_sum(support, coefficients, gamma):
    """Make a route for f(x) = Σ_s α_s Π_j exp(−γ (x_j − s_j)²) + c."""

    def route(function, background, rows):
        values = [_rbf_row(support, coefficients, gamma, background, row) for row in rows]
        truth = Truth.exact(np.array(values)[:, None, :])
        gap = function(rows) - background.weights @ function(background.rows)
        assert np.abs(truth.values.sum(axis=2) - gap).max() < 1e-8
        return truth

    return route


def _rbf_row(support, coefficients, gamma, background, row):
    n = len(row)
    by_size = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
    inside = np.exp(-gamma * (row - support) ** 2)  # p, (n_support, n)
    total = np.zeros(n)
    for b, weight in zip(background.rows, background.weights, strict=True):
        outside = np.exp(-gamma * (b - support) ** 2)  # q
        sums = np.empty_like(inside)

        def leave_one_out(features, polynomial, inside=inside, outside=outside, sums=sums):
            """Multiply by halves, so that each leaf has met every factor but its own."""
            if len(features) == 1:
                sums[:, features[0]] = polynomial @ by_size
                return
            half = len(features) // 2
            for kept, met in (
                (features[:half], features[half:]),
                (features[half:], features[:half]),
            ):
                grown = polynomial
                for j in met:
                    grown = _times(grown, outside[:, j, None], inside[:, j, None])
                leave_one_out(kept, grown)

        leave_one_out(list(range(n)), np.ones((len(support), 1)))
        total += weight * (coefficients @ ((inside - outside) * sums))
    return total


def _times(polynomial, constant, slope):
    """Multiply polynomials, one a row, by constant + slope·z."""
    product_ = np.zeros((len(polynomial), polynomial.shape[1] + 1))
    product_[:, :-1] = polynomial * constant
    product_[:, 1:] += polynomial * slope
    return product_


def leaves(boxes, dtype):
    """Make a route for sums of leaves; a box is (features, lower, upper, value), reached when lower
    < x ≤ upper.
    """

    def route(function, background, rows):
        X, B = rows.astype(dtype).astype(float), background.rows.astype(dtype).astype(float)
        values = np.zeros((len(rows), len(np.atleast_1d(boxes[0][3])), rows.shape[1]))
        for features, lower, upper, value in boxes:
            reach = _leaf_importances(
                X[:, features], B[:, features], background.weights, lower, upper
            )
            values[:, :, features] += reach[:, None, :] * np.atleast_1d(value)[:, None]
        gap = function(rows) - background.weights @ function(background.rows)
        assert np.abs(values.sum(axis=2) - gap).max() < 1e-9
        return Truth.exact(values)

    return route


def _leaf_importances(X, B, weights, lower, upper):
    """Importances of 'the leaf is reached', (n_rows, n_features of the leaf)."""
    n = len(lower)
    x_in = (lower < X) & (upper >= X)
    codes = ((lower < B) & (upper >= B)) @ (1 << np.arange(n))
    share = np.bincount(codes, weights, minlength=1)
    found = np.flatnonzero(share)
    b_in = (found[:, None] >> np.arange(n)) & 1 == 1
    needs_x = x_in[:, None, :] & ~b_in  # (n_rows, n_codes, n)
    needs_b = ~x_in[:, None, :] & b_in
    reachable = (x_in[:, None, :] | b_in).all(axis=2)
    n_x, n_b = needs_x.sum(axis=2), needs_b.sum(axis=2)
    facts = np.array([float(factorial(i)) for i in range(n + 1)])
    whole = reachable * share[found] / facts[n_x + n_b]
    plus = whole * facts[np.maximum(n_x - 1, 0)] * facts[n_b]
    minus = whole * facts[n_x] * facts[np.maximum(n_b - 1, 0)]
    return np.einsum("rc,rcj->rj", plus, needs_x) - np.einsum("rc,rcj->rj", minus, needs_b)


def tree_boxes(left, right, feature, threshold, value):
    """List the leaves of one tree as boxes."""

    def walk(node, bounds):
        if left[node] == right[node]:
            features = np.array(sorted(bounds), dtype=int)
            lower, upper = np.array([bounds[j] for j in features]).reshape(-1, 2).T
            yield features, lower, upper, value[node]
            return
        j = int(feature[node])
        low, high = bounds.get(j, (-np.inf, np.inf))
        yield from walk(left[node], {**bounds, j: (low, min(high, threshold[node]))})
        yield from walk(right[node], {**bounds, j: (max(low, threshold[node]), high)})

    return list(walk(0, {}))


def permutations(walks, transform=None, game=None, seed=0):
    """Make a route that samples permutations, each with its reverse, for every background row
    alike.

    Parameters
    ----------
    walks : int
        Permutations a row, each walked forward and back.
    transform, game : callable, optional
        The same function written faster: function(X) = game(transform(X)), where `transform` acts
        on each column by itself, so that both have the same importances. Checked against the
        function on hybrid rows.
    """

    def route(function, background, rows):
        change, fast = transform or (lambda X: X), game or function
        _check_same(function, change, fast, background, rows)
        own = Background(change(background.rows), background.weights)
        rng = np.random.default_rng(seed)
        sampled = [_sampled_row(fast, own, row, walks, rng) for row in change(rows)]
        return Truth(
            np.array([mean for mean, _ in sampled]), np.array([error for _, error in sampled])
        )

    return route


def _check_same(function, transform, game, background, rows):
    rng = np.random.default_rng(1)
    b = background.rows[rng.integers(len(background.rows), size=256)]
    x = rows[rng.integers(len(rows), size=256)]
    hybrids = np.where(rng.random(x.shape) < rng.random((256, 1)), x, b)
    off = np.abs(function(hybrids) - game(transform(hybrids))).max()
    assert off < 1e-9, f"the fast function is another one: {off}"


def _sampled_row(function, background, row, walks, rng):
    """Mean and standard error over rounds; a round walks equally often (and back) from every
    background row.
    """
    times = max(1, 256 // len(background.rows))
    background = Background.of(
        np.tile(background.rows, (times, 1)), np.tile(background.weights, times)
    )
    rounds = max(8, walks // len(background.rows))
    found = np.array([_one_round(function, background, row, rng) for _ in range(rounds)])
    return found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(rounds)


def _one_round(function, background, row, rng):
    total = 0.0
    step = max(1, CHUNK_ROWS // (len(row) + 1))
    for start in range(0, len(background.rows), step):
        rows = background.rows[start : start + step]
        rank = rng.permuted(np.tile(np.arange(len(row)), (len(rows), 1)), axis=1)
        both = _walk(function, rows, row, rank) + _walk(function, rows, row, len(row) - 1 - rank)
        total = total + np.einsum("b,bkj->kj", background.weights[start : start + step], both / 2)
    return total


def _walk(function, rows, row, rank):
    """Gains along one permutation from each background row to `row`, (n_background, n_outputs,
    n_features).
    """
    n = len(row)
    entered = rank[:, None, :] < np.arange(n + 1)[:, None]  # (n_background, n + 1 steps, n)
    hybrids = np.where(entered, row, rows[:, None, :])
    outputs = function(hybrids.reshape(-1, n)).reshape(len(rows), n + 1, -1)
    gains = np.diff(outputs, axis=1)  # (n_background, n steps, n_outputs)
    return np.take_along_axis(gains, rank[:, :, None], axis=1).transpose(0, 2, 1)


def relative_error(values, truth: Truth) -> float:
    """RMSE over all rows, outputs and features, as a share of mean |φ|."""
    return float(np.sqrt(((values - truth.values) ** 2).mean()) / truth.scale)


Route = Callable[[Callable, Background, np.ndarray], Truth]
