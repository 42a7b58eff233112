"""What explanations know, the tables and objects they turn into, and raw columns by maps."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn.linear_model import LinearRegression, LogisticRegression

from service.explainers import TabularExplainer
from service.explanations import (
    ExplanationContext,
    GlobalExplanation,
    GlobalImportances,
    LocalExplanation,
    load_explanation,
    save_explanation,
)
from service.scoring import LocalImportances

ROOT = Path(__file__).parents[2]
GENERATOR = np.random.default_rng(0)
VALUES = GENERATOR.normal(size=(2, 4, 3))  # two classes, four rows, three features
ERRORS = np.abs(GENERATOR.normal(size=(2, 4, 3)))
ROWS = pd.DataFrame(
    GENERATOR.normal(size=(4, 3)), columns=["a", "b", "c"], index=["r1", "r2", "r3", "r4"]
)
CLASSIFIER = LocalImportances(
    VALUES, np.array([0.4, 0.6]), ["a", "b", "c"], ["no", "yes"], "kernel", "probability", ERRORS
)
REGRESSOR = LocalImportances(
    VALUES[0], np.array(7.0), ["a", "b", "c"], None, "linear", "prediction"
)
TARGETS = LocalImportances(VALUES, np.array([1.0, 2.0]), ["a", "b", "c"], None, "tree", "margin")
KNOWN = ExplanationContext(
    model_task="classification",
    model_type="SVC",
    row_labels=ROWS.index,
    eval_data=ROWS,
    init_data=ROWS[:2],
    eval_y_predicted=np.array(["no", "yes", "no", "no"]),
    eval_y_predicted_proba=np.full((4, 2), 0.5),
    fidelity={"r2": 0.5},
)
WITHOUT_LOCAL = GlobalExplanation(None, KNOWN, GlobalImportances.of(CLASSIFIER))


def test_the_context_is_read_through_the_explanation():
    """Local and global ones alike."""
    for explanation in (LocalExplanation(CLASSIFIER, KNOWN), WITHOUT_LOCAL):
        assert explanation.id == KNOWN.id
        assert (explanation.model_task, explanation.model_type) == ("classification", "SVC")
        assert (explanation.is_raw, explanation.is_engineered) == (False, False)
        assert explanation.row_labels == ["r1", "r2", "r3", "r4"]
        assert explanation.eval_data is ROWS
        assert explanation.init_data.index.tolist() == ["r1", "r2"]
        assert explanation.predictions == explanation.eval_y_predicted == ["no", "yes", "no", "no"]
        assert explanation.eval_y_predicted_proba == [[0.5, 0.5]] * 4
        assert explanation.fidelity == {"r2": 0.5}


def test_every_explanation_has_an_id_of_its_own():
    """Some of the rows are another explanation."""
    explanation = LocalExplanation(REGRESSOR)
    assert len({explanation.id, LocalExplanation(REGRESSOR).id, explanation[0].id}) == 3


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("eval_data", "not kept"),
        ("init_data", "not kept"),
        ("true_labels", "none were given"),
        ("eval_y_predicted", "not kept"),
        ("eval_y_predicted_proba", "not kept"),
        ("residuals", "surrogate"),
        ("fidelity", "no surrogate"),
        ("engineered", "engineered=True"),
        ("to_raw", "it is known of none which raw column"),
    ],
)
def test_what_is_absent_says_why(name, why):
    """An AttributeError, so that hasattr says no."""
    explanation = LocalExplanation(REGRESSOR)
    with pytest.raises(AttributeError, match=f"{name}: this explanation has none; .*{why}"):
        getattr(explanation, name)()


def test_a_global_explanation_lives_without_local_importances():
    """Everything global is there, bit for bit; what is asked of rows says why it is not."""
    whole = GlobalExplanation(CLASSIFIER, KNOWN)
    for name in (
        *("features", "classes", "method", "output", "expected_values", "num_classes"),
        *("num_features", "num_examples", "global_importance_values", "per_class_values"),
        *("global_importance_rank", "per_class_rank", "global_standard_errors", "noise_floor"),
        "per_class_standard_errors",
    ):
        assert getattr(WITHOUT_LOCAL, name) == getattr(whole, name), name
    assert WITHOUT_LOCAL.get_feature_importance_dict() == whole.get_feature_importance_dict()
    assert WITHOUT_LOCAL.standard_errors == WITHOUT_LOCAL.global_standard_errors
    told = repr(WITHOUT_LOCAL)
    assert told.startswith("<GlobalExplanation of 3 features over 4 rows: method='kernel'")
    for name in ("local_importance_values", "get_ranked_local_names", "to_frame", "to_shap"):
        with pytest.raises(AttributeError, match=r"include_local=True\) keeps them"):
            getattr(WITHOUT_LOCAL, name)()
    with pytest.raises(ValueError, match="sums of global importances would count"):
        WITHOUT_LOCAL.get_raw_explanation([np.eye(3)])
    with pytest.raises(TypeError, match="expected importances or overall"):
        GlobalExplanation(None)


def test_importances_that_add_up_to_nothing_have_no_expected_and_no_class_values():
    """As those of permutations: the attributes are absent, the errors are their own."""
    overall = GlobalImportances(
        *(np.array([0.2, 0.1]), ["a", "b"], 10, "permutation", "accuracy"),
        standard_errors=np.array([0.01, 0.02]),
    )
    explanation = GlobalExplanation(None, overall=overall)
    assert explanation.global_importance_values == [0.2, 0.1]
    assert explanation.standard_errors == [0.01, 0.02]
    for name in ("expected_values", "per_class_values", "per_class_rank"):
        assert not hasattr(explanation, name)


def test_ranks_are_positions_in_the_order_of_the_names():
    """Of local values, per class and overall."""
    overall = GlobalExplanation(CLASSIFIER)
    names = np.array(overall.features)
    assert names[overall.global_importance_rank].tolist() == overall.get_ranked_global_names()
    assert names[overall.per_class_rank].tolist() == overall.get_ranked_per_class_names()
    local = LocalExplanation(CLASSIFIER)
    ranks = local.get_local_importance_rank(2)
    assert names[ranks].tolist() == local.get_ranked_local_names(2)
    with pytest.raises(ValueError, match="top_k"):
        local.get_local_importance_rank(0)


def test_rows_are_taken_with_what_belongs_to_them():
    """Labels, data and predictions of the rows; the examples stay."""
    some = LocalExplanation(CLASSIFIER, KNOWN)[[2, 0]]
    assert some.row_labels == ["r3", "r1"]
    pd.testing.assert_frame_equal(some.eval_data, ROWS.iloc[[2, 0]])
    assert some.predictions == ["no", "no"]
    assert some.init_data is KNOWN.init_data
    lists = ExplanationContext(eval_data=ROWS.to_numpy().tolist(), true_labels=[1, 2, 3, 4])
    assert LocalExplanation(REGRESSOR, lists)[1].true_labels == [2]
    sparse = ExplanationContext(eval_data=csr_array(ROWS.to_numpy()))
    assert LocalExplanation(REGRESSOR, sparse)[1:].eval_data.shape == (3, 3)


def test_predictions_are_asked_of_the_model_when_they_are_wanted(monkeypatch, tmp_path):
    """Not before; and what is pickled or saved has the answers, not the model."""
    frame = pd.DataFrame(GENERATOR.normal(size=(40, 3)), columns=["a", "b", "c"])
    model = LogisticRegression().fit(frame, np.array(["no", "yes"])[(frame["a"] > 0) * 1])
    labels = model.predict(frame)
    explainer = TabularExplainer(model, frame)
    asked = []
    predict = LogisticRegression.predict
    monkeypatch.setattr(
        LogisticRegression, "predict", lambda self, rows: asked.append(1) or predict(self, rows)
    )
    local = explainer.explain_local(frame[:5])
    assert not asked
    assert local.predictions == labels[:5].tolist()
    assert local[[3, 1]].eval_y_predicted == labels[[3, 1]].tolist()
    probabilities = model.predict_proba(frame[:5])
    assert local.eval_y_predicted_proba == probabilities.tolist()
    content = pickle.dumps(local)
    assert b"coef_" not in content
    saved = save_explanation(local, tmp_path / "e", include_data=True)
    for again in (pickle.loads(content), load_explanation(saved)):
        assert again.eval_y_predicted == labels[:5].tolist()
        assert again.eval_y_predicted_proba == probabilities.tolist()
    assert not hasattr(explainer.explain_global(frame, include_local=False), "predictions")
    regressor = TabularExplainer(LinearRegression().fit(frame, frame["a"]), frame)
    assert not hasattr(regressor.explain_local(frame), "eval_y_predicted_proba")


def test_standard_errors_and_the_noise_floor_come_by_their_definitions():
    """Over rows sd(|φ|)/√n; sampling adds its mean error; the floor is √(2/π) of that."""
    exact, sampled = GlobalExplanation(TARGETS), GlobalExplanation(CLASSIFIER)
    magnitudes = np.abs(VALUES)
    over_rows = magnitudes.std(axis=1, ddof=1) / 2
    np.testing.assert_allclose(exact.per_class_standard_errors, over_rows)
    means = magnitudes.mean(axis=0).std(axis=0, ddof=1) / 2
    np.testing.assert_allclose(exact.global_standard_errors, means)
    assert exact.noise_floor is None
    drawn = ERRORS.mean(axis=1)
    np.testing.assert_allclose(sampled.per_class_standard_errors, np.hypot(over_rows, drawn))
    np.testing.assert_allclose(sampled.global_standard_errors, np.hypot(means, drawn.mean(axis=0)))
    np.testing.assert_allclose(sampled.noise_floor, np.sqrt(2 / np.pi) * drawn.mean(axis=0))
    assert sampled[0].global_standard_errors is None


def test_local_frames_stand_under_the_row_labels():
    """One class or target, or all of them side by side."""
    local = LocalExplanation(CLASSIFIER, KNOWN)
    expected = pd.DataFrame(VALUES[1], index=ROWS.index, columns=["a", "b", "c"])
    pd.testing.assert_frame_equal(local.to_frame("yes"), expected)
    pd.testing.assert_frame_equal(local.to_frame(1), expected)
    whole = local.to_frame()
    assert whole.index.tolist() == ["r1", "r2", "r3", "r4"]
    assert whole.loc["r2", ("yes", "c")] == VALUES[1, 1, 2]
    assert LocalExplanation(TARGETS).to_frame()[(1, "a")].tolist() == VALUES[1, :, 0].tolist()
    plain = LocalExplanation(REGRESSOR).to_frame()
    assert plain.index.tolist() == [0, 1, 2, 3]
    assert plain.to_numpy().tolist() == VALUES[0].tolist()
    with pytest.raises(ValueError, match=r"class_: expected one of \['no', 'yes'\].*'maybe'"):
        local.to_frame("maybe")


def test_global_frames_say_what_lies_below_the_noise():
    """The largest first; a feature no larger than its floor is marked."""
    values = np.array([[[0.1, 1.0], [-0.1, -1.0]]])
    errors = np.full((1, 2, 2), 0.2)
    sampled = LocalImportances(values, np.zeros(1), ["x", "y"], ["k"], "kernel", "margin", errors)
    frame = GlobalExplanation(sampled).global_frame()
    assert frame.index.tolist() == ["y", "x"]
    assert frame["below_noise"].tolist() == [False, True]
    assert frame["importance"].tolist() == [1.0, 0.1]
    frame = GlobalExplanation(CLASSIFIER).global_frame()
    per_class = dict(zip("abc", np.abs(VALUES).mean(axis=1)[1], strict=True))
    assert frame["importance of yes"].to_dict() == pytest.approx(per_class)
    assert list(GlobalExplanation(REGRESSOR).global_frame()) == ["importance", "standard_error"]


def test_shap_gets_values_expected_values_names_and_cells():
    """One class, or the classes on the last axis."""
    local = LocalExplanation(CLASSIFIER, KNOWN)
    one = local.to_shap("yes")
    np.testing.assert_array_equal(one.values, VALUES[1])
    np.testing.assert_array_equal(one.base_values, np.full(4, 0.6))
    np.testing.assert_array_equal(one.data, ROWS.to_numpy())
    assert one.feature_names == ["a", "b", "c"]
    whole = local.to_shap()
    np.testing.assert_array_equal(whole.values, np.moveaxis(VALUES, 0, -1))
    assert whole.base_values.shape == (4, 2)
    regression = LocalExplanation(REGRESSOR).to_shap()
    np.testing.assert_array_equal(regression.base_values, np.full(4, 7.0))
    assert regression.data is None


def test_values_made_elsewhere_are_read_in_either_order():
    """Classes first as here, last as in shap; where both fit, the order must be said."""
    options = {"features": ["a", "b", "c"], "classes": ["no", "yes"], "expected_values": [0.4, 0.6]}
    first = LocalExplanation.from_values(VALUES, **options)
    last = LocalExplanation.from_values(np.moveaxis(VALUES, 0, -1), **options)
    assert first.local_importance_values == last.local_importance_values == VALUES.tolist()
    assert last.expected_values == [0.4, 0.6]
    cube = GENERATOR.normal(size=(2, 2, 2))
    options = {"features": ["a", "b"], "classes": ["no", "yes"], "expected_values": [0, 0]}
    with pytest.raises(ValueError, match=r"the order of the axes .* cannot be told"):
        LocalExplanation.from_values(cube, **options)
    said = LocalExplanation.from_values(
        np.moveaxis(cube, 0, 1), axes=("row", "class", "feature"), **options
    )
    assert said.local_importance_values == cube.tolist()
    flat = LocalExplanation.from_values(VALUES[0], expected_values=7.0)
    assert (flat.features, flat.expected_values) == (["0", "1", "2"], 7.0)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"values": [[1.0, np.nan]]}, "finite"),
        ({"values": [1.0, 2.0]}, r"got shape \(2,\)"),
        ({"features": ["a"]}, "features: expected 2 names"),
        ({"classes": ["a", "b"]}, "an axis of 2 classes"),
        ({"expected_values": [1.0, 2.0]}, "expected_values: expected 1"),
        ({"values": np.zeros((2, 3, 4)), "axes": ("row", "row", "class")}, "cannot be told"),
        ({"values": [["high", "low"]]}, "values: expected numbers, got others"),
        ({"expected_values": "high"}, "expected_values: expected numbers, got others"),
        ({"features": ["a", "a"]}, "features: expected different"),
        ({"output": "odds"}, "output: expected one of prediction, probability, margin"),
    ],
)
def test_values_that_do_not_fit_are_refused(changed, told):
    """In one sentence, with the counts."""
    options = {"values": [[1.0, 2.0]], "features": None, "expected_values": 0.0, **changed}
    with pytest.raises(ValueError, match=told):
        LocalExplanation.from_values(**options)


ONE_HOT = np.array([[1, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_raw_importances_are_local_sums_and_the_global_ones_are_of_them(kind):
    """Never sums of global ones: what cancels out in a row is not counted."""
    local = LocalExplanation(CLASSIFIER, KNOWN)
    raw = local.get_raw_explanation([kind(ONE_HOT)], ["colour", "size"])
    sums = np.stack([VALUES[..., :2].sum(axis=-1), VALUES[..., 2]], axis=-1)
    np.testing.assert_allclose(raw.local_importance_values, sums, atol=1e-15)
    assert (raw.features, raw.is_raw, raw.row_labels) == (
        ["colour", "size"],
        True,
        ["r1", "r2", "r3", "r4"],
    )
    assert raw.expected_values == local.expected_values
    overall = GlobalExplanation(CLASSIFIER, KNOWN)
    expected = np.abs(sums).mean(axis=(0, 1))
    raw_overall = overall.get_raw_explanation([kind(ONE_HOT)], eval_data=ROWS)
    np.testing.assert_allclose(raw_overall.global_importance_values, expected)
    assert raw_overall.eval_data is ROWS
    np.testing.assert_allclose(overall.get_raw_feature_importances([kind(ONE_HOT)]), expected)
    np.testing.assert_allclose(local.get_raw_feature_importances([kind(ONE_HOT)]), sums, atol=1e-15)


def test_a_column_made_of_several_is_shared_and_rows_keep_their_sums():
    """By the weights of chained maps."""
    product = np.array([[1.0, 1.0, 0.0], [0.0, 3.0, 1.0]])  # the middle one is made of both
    chain = [np.eye(2), product]
    raw = LocalExplanation(REGRESSOR).get_raw_explanation(chain)
    expected = np.stack(
        [VALUES[0, :, 0] + VALUES[0, :, 1] / 4, VALUES[0, :, 2] + 3 * VALUES[0, :, 1] / 4], axis=-1
    )
    np.testing.assert_allclose(raw.local_importance_values, expected)
    np.testing.assert_allclose(np.sum(raw.local_importance_values, -1), VALUES[0].sum(axis=-1))


def test_engineered_explanations_know_the_way_back():
    """By the maps in their context."""
    context = ExplanationContext(
        is_engineered=True, feature_maps=[ONE_HOT], raw_features=["colour", "size"]
    )
    raw = LocalExplanation(REGRESSOR, context).to_raw()
    assert (raw.features, raw.is_raw, raw.is_engineered) == (["colour", "size"], True, False)


@pytest.mark.parametrize("kind", [np.ndarray.tolist, np.array, csr_matrix, csr_array, pd.DataFrame])
def test_a_map_may_come_without_a_list(kind):
    """As one matrix of any form; it is the same as a list of it."""
    local = LocalExplanation(REGRESSOR)
    raw = local.get_raw_explanation(kind(ONE_HOT), ["colour", "size"])
    listed = local.get_raw_explanation([np.array(ONE_HOT)], ["colour", "size"])
    assert raw.features == ["colour", "size"]
    assert raw.local_importance_values == listed.local_importance_values


@pytest.mark.parametrize(
    ("maps", "names", "told"),
    [
        ([], None, "at least one"),
        ([np.eye(2)], None, "maps to the 3 features explained, got one to 2"),
        ([np.eye(2), np.eye(3)], None, "shapes"),
        ([np.array([[1, 0, 0], [0, 0, 1]])], None, "none for column 1"),
        ([np.array([[1, -1, 0], [0, 2, 1]])], None, "none for column 1"),
        ([ONE_HOT], ["a"], "raw_feature_names: expected 2"),
        ([ONE_HOT], ["a", "a"], "raw_feature_names: expected different"),
    ],
)
def test_maps_that_do_not_fit_are_refused(maps, names, told):
    """Nothing is lost: every column must be made of something."""
    with pytest.raises(ValueError, match=told):
        LocalExplanation(REGRESSOR).get_raw_explanation(maps, names)


def test_raw_rows_are_as_many_as_were_explained():
    """Or cells of other rows would stand beside the importances."""
    local = LocalExplanation(REGRESSOR)
    assert len(local.get_raw_explanation([ONE_HOT], eval_data=np.zeros((4, 2))).eval_data) == 4
    with pytest.raises(ValueError, match=r"eval_data: expected the raw rows of the 4.*got 3"):
        local.get_raw_explanation([ONE_HOT], eval_data=np.zeros((3, 2)))


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "2", True])
def test_a_number_of_ranks_that_cannot_be_is_refused_by_whatever_takes_one(top_k):
    """In one sentence, not by what Python says of slices."""
    local, overall = LocalExplanation(CLASSIFIER), GlobalExplanation(CLASSIFIER)
    asked = [
        local.get_ranked_local_names,
        local.get_ranked_local_values,
        local.get_local_importance_rank,
        overall.get_ranked_global_names,
        overall.get_ranked_per_class_values,
        overall.get_feature_importance_dict,
    ]
    for ask in asked:
        with pytest.raises(ValueError, match="top_k: expected a positive number"):
            ask(top_k)


def test_plots_say_what_to_install(monkeypatch):
    """Where matplotlib is missing."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for plot in (
        GlobalExplanation(CLASSIFIER).plot_global,
        GlobalExplanation(CLASSIFIER).visualize,
        LocalExplanation(CLASSIFIER).visualize,
    ):
        with pytest.raises(ImportError, match=r"pip install 'scoring-service\[plots\]'"):
            plot()


DRAW = """
import sys, matplotlib
matplotlib.use("agg")
sys.path.insert(0, "tests/fast")
from test_explanation_objects import *
axes = GlobalExplanation(CLASSIFIER, KNOWN).plot_global(top_k=2)
print(len(axes.patches), [label.get_text() for label in axes.get_yticklabels()])
print(GlobalExplanation(None, KNOWN, GlobalExplanation(REGRESSOR).overall).visualize() is not None)
print(LocalExplanation(CLASSIFIER, KNOWN).plot_row(0, "yes") is not None)
print(LocalExplanation(REGRESSOR).visualize() is not None)
"""


def test_plots_are_drawn_where_matplotlib_is():
    """In a process of its own: with it, importing shap warns."""
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "-c", DRAW], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = GlobalExplanation(CLASSIFIER).get_ranked_global_names(2)[::-1]
    assert done.stdout.split("\n")[:4] == [f"2 {names}", "True", "True", "True"]
