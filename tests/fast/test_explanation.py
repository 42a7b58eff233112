import numpy as np
import pytest

from service.explainers import GlobalExplanation, LocalExplanation
from service.scoring import LocalImportances

# Two classes, two rows, three features; feature "c" pushes down.
VALUES = np.array([[[0.1, 0.2, -0.9], [0.3, 0.0, -0.3]], [[-0.1, -0.2, 0.9], [-0.3, 0.0, 0.5]]])
CLASSIFIER = LocalImportances(
    VALUES, np.array([0.4, 0.6]), ["a", "b", "c"], ["no", "yes"], "kernel", "probability"
)
REGRESSOR = LocalImportances(
    VALUES[0], np.array(7.0), ["a", "b", "c"], None, "linear", "prediction"
)


def test_local_values_names_and_counts_are_those_of_the_importances():
    """Nested lists, classes first for a classifier, no class axis for a regressor."""
    local = LocalExplanation(CLASSIFIER)
    assert local.local_importance_values == VALUES.tolist()
    assert (local.num_classes, local.num_examples, local.num_features) == (2, 2, 3)
    assert (local.expected_values, local.classes, local.features) == (
        [0.4, 0.6],
        ["no", "yes"],
        ["a", "b", "c"],
    )
    regression = LocalExplanation(REGRESSOR)
    assert regression.local_importance_values == VALUES[0].tolist()
    assert (regression.num_classes, regression.num_examples, regression.num_features) == (1, 2, 3)
    assert (regression.expected_values, regression.classes) == (7.0, None)


def test_local_ranks_go_from_what_pushes_up_to_what_pushes_down():
    """Signed values, highest first, names and values in the same order; top_k cuts the last
    axis.
    """
    local = LocalExplanation(CLASSIFIER)
    assert local.get_ranked_local_names() == [
        [["b", "a", "c"], ["a", "b", "c"]],
        [["c", "a", "b"], ["c", "b", "a"]],
    ]
    assert local.get_ranked_local_values(top_k=1) == [[[0.2], [0.3]], [[0.9], [0.5]]]
    assert LocalExplanation(REGRESSOR).get_ranked_local_names(top_k=2) == [["b", "a"], ["a", "b"]]


def test_global_importance_is_the_mean_magnitude_per_class_and_then_over_classes():
    """Worked out by hand."""
    explanation = GlobalExplanation(CLASSIFIER)
    np.testing.assert_allclose(explanation.per_class_values, [[0.2, 0.1, 0.6], [0.2, 0.1, 0.7]])
    np.testing.assert_allclose(explanation.global_importance_values, [0.2, 0.1, 0.65])
    assert explanation.get_ranked_global_names() == ["c", "a", "b"]
    np.testing.assert_allclose(explanation.get_ranked_global_values(top_k=2), [0.65, 0.2])
    assert explanation.get_ranked_per_class_names(top_k=1) == [["c"], ["c"]]
    np.testing.assert_allclose(
        explanation.get_ranked_per_class_values(top_k=2), [[0.6, 0.2], [0.7, 0.2]]
    )
    assert explanation.get_feature_importance_dict(top_k=2) == pytest.approx({"c": 0.65, "a": 0.2})
    np.testing.assert_allclose(
        GlobalExplanation(REGRESSOR).global_importance_values, [0.2, 0.1, 0.6]
    )


def test_a_senseless_top_k_is_refused():
    """Zero or fewer names are no ranking."""
    with pytest.raises(ValueError, match="top_k: expected a positive number, got 0"):
        LocalExplanation(CLASSIFIER).get_ranked_local_names(top_k=0)


def test_a_global_explanation_averages_what_the_local_one_gives(diabetes):
    """explain_global on rows is the mean |explain_local| of the same rows."""
    local = np.array(diabetes.explainer.explain_local(diabetes.rows).local_importance_values)
    globally = diabetes.explainer.explain_global(diabetes.rows)
    np.testing.assert_allclose(globally.global_importance_values, np.abs(local).mean(axis=0))
    assert globally.local_importance_values == local.tolist()


TARGETS = LocalImportances(
    VALUES, np.array([0.4, 0.6]), ["a", "b", "c"], None, "kernel", "prediction", 0 * VALUES + 0.1
)
MANY = LocalImportances(
    np.zeros((2, 500, 40)),
    np.zeros(2),
    [f"column {i}" for i in range(40)],
    [0, 1],
    "tree",
    "margin",
)


@pytest.mark.parametrize(
    ("importances", "told"),
    [
        (CLASSIFIER, "2 rows, 3 features, 2 classes: method='kernel', output='probability'"),
        (REGRESSOR, "2 rows, 3 features: method='linear', output='prediction'"),
        (TARGETS, "2 rows, 3 features, 2 targets: method='kernel', output='prediction'"),
        (MANY, "500 rows, 40 features, 2 classes: method='tree', output='margin'"),
    ],
)
def test_they_print_in_a_line(importances, told):
    """However many numbers are in them; a global one tells its largest features too."""
    assert repr(importances) == f"<LocalImportances of {told}>"
    assert repr(LocalExplanation(importances)) == f"<LocalExplanation of {told}>"
    overall = repr(GlobalExplanation(importances))
    assert overall.startswith(f"<GlobalExplanation of {told}; ")
    assert len(overall) < 200
    assert repr(GlobalExplanation(REGRESSOR)).endswith("; c 0.6, a 0.2, b 0.1>")


@pytest.mark.parametrize("rows", [0, -1, slice(1, None), [1, 0], [False, True], np.array([1])])
@pytest.mark.parametrize("importances", [CLASSIFIER, REGRESSOR, TARGETS])
def test_some_of_the_rows_are_taken_like_those_of_an_array(importances, rows):
    """With everything that belongs to them, errors too; a single row keeps its axis."""
    taken = LocalExplanation(importances)[rows]
    positions = np.atleast_1d(np.arange(2)[rows])
    assert len(taken) == taken.num_examples == len(positions)
    values = importances.values[..., positions, :]
    assert taken.local_importance_values == values.tolist()
    assert (taken.features, taken.classes) == (importances.features, importances.classes)
    assert taken.expected_values == importances.expected_values.tolist()
    if importances.standard_errors is not None:
        assert np.shape(taken.standard_errors) == values.shape
    overall = GlobalExplanation(importances)[rows]
    assert (
        overall.per_class_values == np.abs(values).reshape(-1, *values.shape[-2:]).mean(1).tolist()
    )


def test_explanations_are_walked_through_row_by_row():
    """A loop ends after the last one; beyond it there is none."""
    ranked = [row.get_ranked_local_names(1) for row in LocalExplanation(REGRESSOR)]
    assert ranked == [[["b"]], [["a"]]]
    assert len(list(LocalExplanation(CLASSIFIER))) == len(LocalExplanation(CLASSIFIER)) == 2
    with pytest.raises(IndexError):
        LocalExplanation(CLASSIFIER)[2]
    assert repr(GlobalExplanation(REGRESSOR)[2:]).startswith("<GlobalExplanation of 0 rows")
