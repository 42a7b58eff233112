"""The tools: each is built once for a case, and then explains rows. Next: :mod:`benchmarks.run`.

| tool              | what it is                                                             |
|-------------------|------------------------------------------------------------------------|
| ours              | ``KernelScoringExplainer`` as it comes; "ours/8", "ours*4" … with that |
|                   | part of the coalitions                                                 |
| shap              | ``shap.KernelExplainer`` as it comes: keeps ten features               |
| shap-l1off        | the same with ``l1_reg=False``                                         |
| lightshap         | ``lightshap.explain_any`` as it comes, with its own stopping rule      |
| lightshap-budget  | the same, stopped at about as many coalitions as shap's 2M + 2048      |
| shapiq            | ``shapiq.TabularExplainer(index="SV")`` with as many coalitions; knows |
|                   | no background weights, and one output at a time                        |
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.cases import Case

PREDICTORS = ("predict", "predict_proba", "decision_function", "__call__")
PEERS = ("shap", "shap-l1off", "lightshap", "lightshap-budget", "shapiq")
DEFAULT = ("ours", "ours/8", "ours*4", "ours*16", *PEERS)


class TooSlowError(Exception):
    """A call that went on past its deadline."""


@dataclass(frozen=True)
class Answer:
    """What a tool gives.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_outputs, n_features)
    base : ndarray of shape (n_outputs,)
    method : str
    errors : ndarray like values, or None
        Standard errors, where the tool gives any.
    """

    values: np.ndarray
    base: np.ndarray
    method: str
    errors: np.ndarray | None = None


Tool = Callable[[Any], Answer]


class Counter:
    """Counts the rows that pass through a model, and stops what takes too long."""

    def __init__(self, deadline=np.inf):
        self.rows, self.deadline, self._depth = 0, deadline, 0

    def wrap(self, cls, name):
        """Count the rows of one method; what goes on inside a counted call is not counted twice."""
        original = cls.__dict__[name] if name in cls.__dict__ else getattr(cls, name)

        def counted(model, X, *args, **kwargs):
            if time.perf_counter() > self.deadline:
                raise TooSlowError
            bound = original.__get__(model, cls)
            self.rows += len(X) if self._depth == 0 else 0
            self._depth += 1
            try:
                return bound(X, *args, **kwargs)
            finally:
                self._depth -= 1

        return patch.object(cls, name, counted)


@contextmanager
def counted(case: Case, seconds: float = np.inf) -> Iterator[Counter]:
    """Count the model rows of everything inside, for at most so many seconds."""
    counter = Counter(time.perf_counter() + seconds)
    methods = {
        (type(part), name)
        for part in _parts(case.model)
        for name in PREDICTORS
        if hasattr(part, name)
    }
    with ExitStack() as stack:
        for wrapped in [counter.wrap(cls, name) for cls, name in methods]:
            stack.enter_context(wrapped)
        yield counter


def _parts(model):
    """List a model and the models inside it, so that a call past the outer one counts too."""
    inside = [step for _, step in getattr(model, "steps", [])]
    inside += [fold.estimator for fold in getattr(model, "calibrated_classifiers_", [])]
    return [model, *(part for child in inside for part in _parts(child))]


def build(tool: str, case: Case) -> Tool:
    """Make a tool for a case; this is not timed."""
    if tool.startswith("ours"):
        return _ours(case, _share(tool))
    makers = {
        "shap": lambda: _shap(case),
        "shap-l1off": lambda: _shap(case, l1_reg=False),
        "lightshap": lambda: _lightshap(case),
        "lightshap-budget": lambda: _lightshap(case, max_iter=_iterations(case), tol=1e-12),
        "shapiq": lambda: _shapiq(case),
    }
    return makers[tool]()


def handed(tool: str, case: Case, rows: np.ndarray) -> Any:
    """Bring rows into the form that a tool takes them in; a user has them in it, so this is not
    timed.
    """
    return case.native(rows) if tool.startswith("ours") else rows


def budget(case: Case) -> int:
    """Return shap's default number of coalitions: 2M + 2048, or all there are."""
    n = case.tests.shape[1]
    return min(2 * n + 2048, 2**n - 2)


def background_of(tool: str, case: Case):
    """Return the background of the game that a tool plays."""
    return case.our_background if tool.startswith("ours") else case.peers_background


def our_explainer(case: Case):
    """Make the explainer that the scoring explainers of a case are made from."""
    from service.explainers import TabularExplainer

    examples = case.native(case.full.rows)
    return TabularExplainer(case.model, examples, output=case.output, background=case.ours)


def our_answer(case: Case, result) -> Answer:
    """Bring our result into the common form; a binary margin is its second class."""
    values, base = result.values, np.atleast_1d(result.expected_values)
    errors = getattr(result, "standard_errors", None)
    n_outputs = case.n_outputs
    values, errors = (
        array if array is None or array.ndim == 3 else array[None] for array in (values, errors)
    )
    errors = None if errors is None else errors[-n_outputs:].transpose(1, 0, 2)
    return Answer(values[-n_outputs:].transpose(1, 0, 2), base[-n_outputs:], result.method, errors)


def _share(tool):
    """Read "ours/8" or "ours*4"; None for the tool as it comes."""
    if tool == "ours":
        return None
    return 1 / float(tool[5:]) if tool[4] == "/" else float(tool[5:])


def _ours(case, share):
    from service.scoring import KernelScoringExplainer

    nsamples = (
        "auto" if share is None else max(2 * case.tests.shape[1] + 2, int(budget(case) * share))
    )
    scoring = KernelScoringExplainer(our_explainer(case), nsamples=nsamples, random_state=0)
    _ = case.n_outputs  # found out here, so that no call of the model is timed
    return lambda rows: our_answer(case, scoring.explain_rows(rows))


def _shap(case, **options):
    import shap
    from shap.utils._legacy import DenseData

    logging.getLogger("shap").setLevel(logging.ERROR)
    background = case.peers_background
    names = [str(j) for j in range(background.rows.shape[1])]
    explainer = shap.KernelExplainer(
        case.function, DenseData(background.rows, names, None, background.weights)
    )

    def explain(rows):
        np.random.seed(0)  # shap draws from the global generator
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = explainer.shap_values(rows, silent=True, **options)
        values = values[:, :, None] if values.ndim == 2 else values
        return Answer(values.transpose(0, 2, 1), np.atleast_1d(explainer.expected_value), "kernel")

    return explain


def _iterations(case):
    """Count LightSHAP's iterations that fit the budget, after its exact outer sizes."""
    n = case.tests.shape[1]
    degree = 2 if n <= 16 else 1
    exact = 2 * n + (n * (n - 1) if degree == 2 else 0)
    return max(2, (budget(case) - exact) // (2 * (n - 1 - 2 * degree)))


def _lightshap(case, **options):
    from lightshap import explain_any

    background = case.peers_background

    def explain(rows):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that some rows did not converge
            found = explain_any(
                case.function,
                rows,
                bg_X=background.rows,
                bg_w=background.weights,
                random_state=0,
                verbose=False,
                **options,
            )
        values = found.shap_values
        values = values[:, :, None] if values.ndim == 2 else values
        return Answer(values.transpose(0, 2, 1), np.ravel(found.baseline), "kernel")

    return explain


def _shapiq(case):
    import shapiq

    background = case.peers_background.rows
    n_outputs = case.n_outputs
    # Two classes mirror each other, so that one is enough.
    asked = [1] if n_outputs == 2 else range(n_outputs)
    explainers = [
        shapiq.TabularExplainer(
            lambda X, k=k: case.function(X)[:, k],
            background,
            index="SV",
            max_order=1,
            sample_size=len(background),
            random_state=0,
        )
        for k in asked
    ]

    def explain(rows):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it needs less than the budget
            found = [
                [e.explain(row, budget=budget(case), random_state=0) for e in explainers]
                for row in rows
            ]
        values = np.array([[one.get_n_order_values(1) for one in row] for row in found])
        base = np.array([explainer.baseline_value for explainer in explainers])
        if n_outputs == 2:
            values, base = (
                np.concatenate([-values, values], axis=1),
                np.array([1 - base[0], base[0]]),
            )
        return Answer(values, base, "kernel")

    return explain
