import numpy as np
import pytest
import shap
from sklearn.datasets import load_breast_cancer

from service.engines.backgrounds import choose_background
from service.engines.options import EngineOptions
from service.shapley.background import Background

X = load_breast_cancer().data


def choose(examples=X, kind="auto", size=None, affordable=1000):
    return choose_background(
        examples, EngineOptions(background=kind, background_size=size), affordable
    )


def test_the_whole_background_is_the_default_up_to_what_the_engine_can_afford():
    """All rows, or a sample of the affordable size that says what it is."""
    np.testing.assert_array_equal(choose().rows, X)
    sample = choose(affordable=200)
    assert (choose().kind, sample.kind, len(sample.rows), sample.n_examples) == (
        "whole",
        "sample",
        200,
        569,
    )


def test_kmeans_is_the_summary_of_the_reference():
    """By name only: shap.kmeans(X, 10), the same rows and weights."""
    background, reference = choose(kind="kmeans"), shap.kmeans(X, 10)
    assert (background.kind, background.n_examples) == ("kmeans", 569)
    np.testing.assert_array_equal(background.rows, reference.data)
    np.testing.assert_allclose(background.weights, reference.weights / reference.weights.sum())


@pytest.mark.parametrize("size", [20, 400])
def test_as_many_centres_as_distinct_rows_leave_nothing_out(size):
    """Each is its own centre, with the weight of its copies: nothing is off, or said to be."""
    few, copies = X[:20], np.arange(60) % 20
    background = choose(few[copies % 13], kind="kmeans", size=size)
    assert (background.kind, len(background.rows), background.n_examples) == ("whole", 13, 60)
    mean = few[copies % 13].mean(axis=0)
    np.testing.assert_allclose(background.weights @ background.rows, mean, rtol=1e-12)


def test_summaries_can_be_adjusted():
    """Another number of centres, a sample instead, or all rows whatever the engine says."""
    assert len(choose(kind="kmeans", size=25).rows) == 25
    assert len(choose(kind="sample").rows) == 100
    assert len(choose(kind="sample", size=7).rows) == 7
    assert len(choose(kind="whole", affordable=10).rows) == 569


def test_kmeans_refuses_columns_that_are_not_all_numbers():
    """It knows neither strings nor missing values."""
    mixed = X.astype(object)
    mixed[:, 0] = "text"
    holes = X.copy()
    holes[3, 4] = np.nan
    for examples in (mixed, holes):
        with pytest.raises(ValueError, match="numbers without missing values"):
            choose(examples, kind="kmeans")


@pytest.mark.parametrize(
    ("kind", "size", "reason"), [("all", None, "expected one of auto"), ("sample", 0, "positive")]
)
def test_unknown_options_are_refused(kind, size, reason):
    """The message lists what is possible."""
    with pytest.raises(ValueError, match=reason):
        choose(kind=kind, size=size)


def test_weights_must_fit_the_rows():
    """A background checks what it is given."""
    with pytest.raises(ValueError, match="one positive weight for each of 2 rows"):
        Background.weighted(X[:2], np.ones(3), "given", 2)
    with pytest.raises(ValueError, match="non-empty 2-D array"):
        Background.uniform(X[:0])
