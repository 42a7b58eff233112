import numpy as np
import pytest
import shap
from sklearn.datasets import load_breast_cancer

from service.scoring.backgrounds import choose_background
from service.shapley.background import Background

X = load_breast_cancer().data


def choose(examples=X, kind="auto", size=None, affordable=None):
    return choose_background(examples, kind, size, affordable=affordable, random_state=0)


def test_more_than_100_rows_become_10_weighted_centres_as_in_the_reference():
    """The black-box default is shap.kmeans(X, 10): the same rows and weights."""
    background, reference = choose(), shap.kmeans(X, 10)
    assert (background.kind, background.n_examples) == ("kmeans", 569)
    np.testing.assert_array_equal(background.rows, reference.data)
    np.testing.assert_allclose(background.weights, reference.weights / reference.weights.sum())


def test_up_to_100_rows_are_taken_whole():
    """No summary where none is needed."""
    background = choose(X[:100])
    assert background.kind == "whole"
    np.testing.assert_array_equal(background.rows, X[:100])


def test_the_summary_can_be_adjusted_and_switched_off():
    """Another number of centres, a sample instead, or all rows."""
    assert len(choose(kind="kmeans", size=25).rows) == 25
    assert len(choose(kind="sample").rows) == 100
    assert len(choose(kind="sample", size=7).rows) == 7
    assert len(choose(kind="whole").rows) == 569


def test_engines_with_a_closed_form_take_what_they_can_afford():
    """The whole background up to the limit, a sample of that size beyond."""
    assert choose(affordable=1000).kind == "whole"
    assert (choose(affordable=200).kind, len(choose(affordable=200).rows)) == ("sample", 200)


def test_columns_that_are_not_all_numbers_are_sampled():
    """k-means knows neither strings nor missing values, so the default takes a sample of 100, and says so by name."""
    mixed = X.astype(object)
    mixed[:, 0] = "text"
    holes = X.copy()
    holes[3, 4] = np.nan
    for examples in (mixed, holes):
        background = choose(examples)
        assert (background.kind, len(background.rows)) == ("sample", 100)
        with pytest.raises(ValueError, match="numbers without missing values"):
            choose(examples, kind="kmeans")


@pytest.mark.parametrize(("kind", "size", "reason"), [("all", None, "expected one of auto"), ("sample", 0, "positive")])
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
