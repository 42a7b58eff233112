"""From margins to outputs, against scikit-learn's and libsvm's own answers."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_classification
from sklearn.svm import SVC, NuSVC

from service.structures.links import Calibrated, OnePerClass, PairwisePlatt


def fitted(model, X, y):
    with pytest.warns(FutureWarning, match="probability"):
        return model.fit(X, y)


def platt(model):
    """The link of a fitted machine, and what turns scikit-learn's margins into libsvm's."""
    n_classes = len(model.classes_)
    sign = -1 if n_classes == 2 else 1
    return PairwisePlatt(sign * model._probA, model._probB, n_classes)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("model", [SVC, NuSVC])
def test_the_coupling_stops_where_libsvm_stops(model, n_classes):
    """On thousands of rows, near and far: the same probabilities to 1e-12."""
    X, y = make_classification(
        300, 8, n_informative=6, n_classes=n_classes, n_clusters_per_class=1, random_state=0
    )
    options = {"nu": 0.2} if model is NuSVC else {}
    machine = model(probability=True, decision_function_shape="ovo", random_state=0, **options)
    fitted(machine, X, y)
    rows = np.random.default_rng(0).normal(size=(5000, 8)) * np.geomspace(0.1, 30, 5000)[:, None]
    margins = machine.decision_function(rows).reshape(len(rows), -1)
    np.testing.assert_allclose(
        platt(machine)(margins), machine.predict_proba(rows), rtol=0, atol=1e-12
    )


def test_the_coupling_of_two_classes_is_not_the_sigmoid():
    """libsvm's iteration ends early: a plain sigmoid would miss the served probabilities by
    thousandths.
    """
    X, y = make_classification(300, 8, random_state=0)
    machine = fitted(SVC(probability=True, random_state=0), X, y)
    sigmoid = 1 / (1 + np.exp(-machine._probA * machine.decision_function(X) + machine._probB))
    off = np.abs(sigmoid - machine.predict_proba(X)[:, 0]).max()
    assert 1e-4 < off < 1e-2


def test_ten_classes_are_coupled_too():
    """Forty-five pairs, on the digits."""
    X, y = load_digits(return_X_y=True)
    machine = fitted(
        SVC(probability=True, decision_function_shape="ovo", random_state=0), X[:400], y[:400]
    )
    margins = machine.decision_function(X[400:])
    np.testing.assert_allclose(
        platt(machine)(margins), machine.predict_proba(X[400:]), rtol=0, atol=1e-12
    )


def test_a_row_is_coupled_alike_alone_and_among_others():
    """The same bytes, though rows stop after different numbers of rounds."""
    rng = np.random.default_rng(0)
    link = PairwisePlatt(rng.normal(size=6), rng.normal(size=6), 4)
    margins = rng.normal(size=(200, 6)) * 4
    together = link(margins)
    for i in range(0, 200, 20):
        assert link(margins[i : i + 1]).tobytes() == together[i : i + 1].tobytes()


class Zero:
    """A calibrator that finds a class impossible."""

    def predict(self, margins):
        return np.zeros(len(margins))


def test_rows_without_any_probability_are_what_scikit_learn_makes_of_them():
    """Calibration falls back to equal shares, one-versus-rest stays at zero."""
    margins = np.ones((2, 3))
    np.testing.assert_array_equal(
        Calibrated((Zero(), Zero(), Zero()))(margins), np.full((2, 3), 1 / 3)
    )
    never = Calibrated((Zero(),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(OnePerClass((never, never, never))(margins), np.zeros((2, 3)))
