import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from identifiers import written
from joblib import parallel_config
from lightgbm import LGBMClassifier
from scipy.sparse import csr_matrix
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    make_scorer,
    mean_squared_error,
    roc_auc_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor

from service.explainers import PFIExplainer, load_explanation, save_explanation
from service.scoring import ModelOutputError

ROWS, SPECIES = load_iris(return_X_y=True, as_frame=True)
CLASSIFIER = LogisticRegression(max_iter=1000).fit(ROWS, SPECIES)
X_DIABETES, Y_DIABETES = load_diabetes(return_X_y=True)
REGRESSOR = LinearRegression().fit(X_DIABETES, Y_DIABETES)
PETALS = ["petal length (cm)", "petal width (cm)"]


def one_column():
    """A target that is the first of three columns, and a model of it."""
    rows = np.random.default_rng(0).normal(size=(80, 3))
    return LinearRegression().fit(rows, 3 * rows[:, 0]), rows, 3 * rows[:, 0]


def binary():
    rows = np.random.default_rng(1).normal(size=(80, 3))
    labels = np.where(rows[:, 0] > 0, "yes", "no")
    return LogisticRegression(C=100).fit(rows, labels), rows, labels


def squared(true, predicted):
    return float(np.mean((true - predicted) ** 2))


def negative_squared(true, predicted):
    return -squared(true, predicted)


def test_the_numbers_are_those_of_scikit_learn():
    """All rows, every column, the same seed: bit-equal, and the errors are those of the means."""
    theirs = permutation_importance(
        CLASSIFIER, ROWS, SPECIES, scoring="neg_log_loss", n_repeats=7, random_state=3
    )
    overall = PFIExplainer(CLASSIFIER, metric="neg_log_loss", n_repeats=7, seed=3).explain_global(
        ROWS, SPECIES
    )
    np.testing.assert_array_equal(overall.global_importance_values, theirs.importances_mean)
    errors = theirs.importances.std(axis=1, ddof=1) / np.sqrt(7)
    np.testing.assert_array_equal(overall.standard_errors, errors)


def test_iris_comes_in_its_known_order():
    """Petal length, petal width, then the rest."""
    overall = PFIExplainer(CLASSIFIER).explain_global(ROWS, SPECIES)
    assert overall.get_ranked_global_names(2) == PETALS
    assert overall.classes == [0, 1, 2]
    assert (overall.method, overall.output) == ("permutation importance", "accuracy_score")
    assert (overall.model_task, overall.num_examples) == ("classification", 150)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metric": "mean_squared_error"},
        {"metric": "mean_squared_error", "is_error_metric": True},
        {"metric": mean_squared_error, "is_error_metric": True},
        {"metric": "neg_mean_squared_error"},
        {"metric": "max_error"},
        {"metric": "r2"},
        {"metric": "r2_score"},
        {"metric": sklearn.metrics.r2_score},
        {"metric": "d2_pinball_score", "metric_args": {"alpha": 0.3}},
        {"metric": make_scorer(squared, greater_is_better=False)},
        {"metric": squared, "is_error_metric": True},
        {"metric": negative_squared},
        {"metric": lambda estimator, X, y: -squared(y, estimator.predict(X))},
    ],
    ids=written,
)
def test_positive_is_important_for_every_metric_of_a_regression(options):
    """Errors and scores alike; a column without influence is exactly 0 ± 0."""
    model, rows, y = one_column()
    model.coef_[1:] = 0.0
    overall = PFIExplainer(model, **options).explain_global(rows, y)
    values = overall.global_importance_values
    assert values[0] > 0.1
    assert values[1:] == [0, 0]
    assert overall.standard_errors[1:] == [0, 0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metric": "f1_score", "metric_args": {"pos_label": "yes"}},
        {"metric": "roc_auc"},
        {"metric": "roc_auc_score"},
        {"metric": "log_loss"},
        {"metric": sklearn.metrics.log_loss, "is_error_metric": True},
        {"metric": "brier_score_loss", "metric_args": {"pos_label": "yes"}},
        {"metric": "zero_one_loss"},
        {"metric": "hinge_loss"},
        {"metric": "d2_log_loss_score"},
        {"metric": "matthews_corrcoef"},
        {"metric": "balanced_accuracy_score"},
        {"metric": "average_precision_score", "metric_args": {"pos_label": "yes"}},
        {
            "metric": lambda true, shares: float(np.mean(shares[true == "yes", 1])),
            "for_classifier_use_predict_proba": True,
        },
    ],
    ids=written,
)
def test_positive_is_important_for_every_metric_of_a_classification(options):
    """Metrics of labels, of margins and of probabilities: each is given what it needs."""
    model, rows, labels = binary()
    overall = PFIExplainer(model, **options).explain_global(rows, labels)
    assert overall.get_ranked_global_names(1) == ["0"]
    assert overall.global_importance_values[0] > 0.1


def test_labels_may_come_by_position_or_keyword():
    """The same numbers."""
    explainer = PFIExplainer(CLASSIFIER)
    by_position = explainer.explain_global(ROWS, SPECIES)
    by_keyword = explainer.explain_global(ROWS, true_labels=SPECIES)
    assert by_position.global_importance_values == by_keyword.global_importance_values


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_jobs():
    """And numpy's own generator is left alone."""
    before = np.random.get_state()[1].tobytes()
    explainer = PFIExplainer(CLASSIFIER, metric="log_loss", seed=5, n_repeats=3)
    alone = explainer.explain_global(ROWS, SPECIES, max_samples=0.7)
    with parallel_config(backend="threading"):
        shared = explainer.explain_global(ROWS, SPECIES, max_samples=0.7, n_jobs=2)
    assert alone.global_importance_values == shared.global_importance_values
    assert np.random.get_state()[1].tobytes() == before
    other = PFIExplainer(CLASSIFIER, metric="log_loss", seed=6).explain_global(ROWS, SPECIES)
    assert alone.global_importance_values != other.global_importance_values


def test_a_sample_of_the_rows_is_held_against_itself():
    """What is sampled plays no part in what a column without influence loses."""
    model, rows, y = one_column()
    model.coef_[1:] = 0.0
    overall = PFIExplainer(model).explain_global(rows, y + 1, max_samples=20)
    assert overall.global_importance_values[1:] == [0, 0]


def test_sparse_rows_give_the_numbers_of_dense_ones():
    """Column by column, without becoming dense."""
    rows = np.where(np.random.default_rng(0).random((60, 12)) < 0.1, 1.0, 0.0)
    rows[:, 7] = 0.0
    y = rows @ np.arange(12.0)
    model = LinearRegression().fit(rows, y)
    dense = PFIExplainer(model, n_repeats=3).explain_global(rows, y)
    for sparse in (csr_matrix(rows), csr_matrix(rows).tocoo()):
        found = PFIExplainer(model, n_repeats=3).explain_global(sparse, y)
        np.testing.assert_allclose(
            found.global_importance_values, dense.global_importance_values, rtol=0, atol=1e-12
        )
        sampled = PFIExplainer(model, n_repeats=2).explain_global(sparse, y, max_samples=0.5)
        assert sampled.global_importance_values[7] == 0
    assert found.global_importance_values[7] == 0


def test_dtypes_survive_and_raw_columns_are_permuted_whole():
    """A frame of categories, integers and texts comes to the model as it is."""
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(["a", "b", "c"] * 30),
            "count": np.arange(90, dtype="int8"),
            "text": pd.Series(["x", "y"] * 45, dtype="string"),
            "flag": [True, False, False] * 30,
        }
    )
    labels = (frame["kind"] == "b").to_numpy()
    seen = []

    def predict(rows):
        seen.append(rows.dtypes.equals(frame.dtypes))
        return rows["kind"] == "b"

    overall = PFIExplainer(predict, classes=[False, True]).explain_global(frame, labels)
    assert all(seen)
    assert overall.features == ["kind", "count", "text", "flag"]
    assert overall.global_importance_values[0] > 0.3
    assert overall.global_importance_values[1:] == [0, 0, 0]

    encoded = make_column_transformer((OneHotEncoder(), ["kind", "text"]), remainder="drop")
    model = make_pipeline(encoded, LogisticRegression()).fit(frame, labels)
    theirs = permutation_importance(model, frame, labels, n_repeats=10, random_state=0)
    ours = PFIExplainer(model).explain_global(frame, labels)
    np.testing.assert_array_equal(ours.global_importance_values, theirs.importances_mean)


def test_raw_columns_are_permuted_behind_transformations():
    """Both forms give the numbers of a pipeline of the same parts: raw columns, each whole."""
    frame = pd.DataFrame({"kind": list("abcd") * 25, "size": np.arange(100.0)})
    labels = frame["kind"].isin(["a", "c"]).to_numpy()
    encoder = make_column_transformer((OneHotEncoder(), ["kind"]), ("passthrough", ["size"]))
    model = LogisticRegression(max_iter=500).fit(encoder.fit_transform(frame), labels)
    listed = [(["kind"], OneHotEncoder().fit(frame[["kind"]])), (["size"], None)]
    whole = make_pipeline(encoder, model)
    expected = PFIExplainer(whole, metric="log_loss").explain_global(frame, labels)
    for transformations in (encoder, listed):
        explainer = PFIExplainer(model, metric="log_loss", transformations=transformations)
        found = explainer.explain_global(frame, labels)
        np.testing.assert_allclose(
            found.global_importance_values, expected.global_importance_values, rtol=0, atol=1e-12
        )
        assert (found.features, found.is_raw) == (["kind", "size"], True)
    with pytest.raises(ValueError, match="OneHotEncoder"):
        PFIExplainer(model, transformations=OneHotEncoder()).explain_global(frame, labels)


def test_a_subset_has_the_numbers_of_the_whole():
    """By names and positions, in the order in which they are named."""
    whole = PFIExplainer(CLASSIFIER).explain_global(ROWS, SPECIES).global_importance_values
    part = PFIExplainer(CLASSIFIER, explain_subset=["petal width (cm)", 0]).explain_global(
        ROWS, SPECIES
    )
    assert part.features == ["petal width (cm)", "sepal length (cm)"]
    assert part.global_importance_values == [whole[3], whole[0]]


def test_weights_count():
    """A row of weight 0 plays no part in the score: scikit-learn's own numbers."""
    weights = np.r_[np.zeros(50), np.ones(100)]
    theirs = permutation_importance(
        CLASSIFIER, ROWS, SPECIES, n_repeats=4, random_state=0, sample_weight=weights
    )
    ours = PFIExplainer(CLASSIFIER, n_repeats=4).explain_global(
        ROWS, SPECIES, sample_weight=weights
    )
    np.testing.assert_allclose(
        ours.global_importance_values, theirs.importances_mean, rtol=0, atol=1e-12
    )


def test_functions_and_foreign_models_are_asked_alike():
    """Functions, a model without tags, and one whose predictions are columns."""

    class Foreign:
        predict = staticmethod(CLASSIFIER.predict_proba)

    class Bare:
        classes_ = CLASSIFIER.classes_
        predict = staticmethod(CLASSIFIER.predict)
        predict_proba = staticmethod(CLASSIFIER.predict_proba)

    known = PFIExplainer(CLASSIFIER, metric="log_loss").explain_global(ROWS, SPECIES)
    others = [
        PFIExplainer(CLASSIFIER.predict_proba, is_function=True, metric="log_loss"),
        PFIExplainer(CLASSIFIER.predict_proba, metric="log_loss", model_task="classification"),
        PFIExplainer(Foreign(), metric="log_loss", model_task="classification"),
        PFIExplainer(Bare(), metric="log_loss"),
    ]
    for other in others:
        found = other.explain_global(ROWS, SPECIES)
        assert found.global_importance_values == known.global_importance_values
    regression = PFIExplainer(REGRESSOR.predict).explain_global(X_DIABETES, Y_DIABETES)
    own = PFIExplainer(REGRESSOR).explain_global(X_DIABETES, Y_DIABETES)
    assert regression.global_importance_values == own.global_importance_values


def test_one_probability_is_that_of_the_second_class():
    """As a network with one sigmoid unit answers it."""
    model, rows, labels = binary()
    single = PFIExplainer(
        lambda rows: model.predict_proba(rows)[:, 1], classes=["no", "yes"], metric="log_loss"
    )
    both = PFIExplainer(model, metric="log_loss")
    np.testing.assert_allclose(
        single.explain_global(rows, labels).global_importance_values,
        both.explain_global(rows, labels).global_importance_values,
        rtol=0,
        atol=1e-12,
    )


def pure_leaves(labels):
    """A tree whose probabilities are 0.0 and 1.0, its one column, and what it was fitted on."""
    rows = np.random.default_rng(1).normal(size=(80, 3))
    is_second = rows[:, 0] + rows[:, 1] ** 2 > 0.5
    truth = np.array(labels)[is_second.astype(int)]
    tree = DecisionTreeClassifier(random_state=0).fit(rows, truth)
    return tree, lambda rows: tree.predict_proba(rows)[:, 1], rows, truth


@pytest.mark.parametrize("labels", [[0, 1], [1, 2], [0.0, 1.0], ["no", "yes"], [False, True]])
@pytest.mark.parametrize("metric", [None, "f1_macro", "log_loss", "roc_auc"])
@pytest.mark.parametrize("max_samples", [1.0, 30])
def test_a_probability_is_one_also_where_it_is_0_or_1(labels, metric, max_samples):
    """Pure leaves, saturated units and small samples: it is decided once, for all rows."""
    tree, share, rows, truth = pure_leaves(labels)
    found, own = (
        PFIExplainer(model, metric=metric, n_repeats=2, **named).explain_global(
            rows, truth, max_samples=max_samples
        )
        for model, named in [(share, {"classes": labels}), (tree, {})]
    )
    assert found.global_importance_values == own.global_importance_values
    assert found.global_importance_values[0] > 0.1


def test_a_saturated_unit_without_names_is_no_label_of_others():
    """0.0 and 1.0 are labels then, of which one is never true: the names are asked for."""
    _, share, rows, truth = pure_leaves([1, 2])
    named = PFIExplainer(share, model_task="classification")
    with pytest.raises(ValueError, match=r"answers 0\.0, which no row .*, and never 2"):
        named.explain_global(rows, truth)
    _, share, rows, truth = pure_leaves([0, 1])
    sloped = PFIExplainer(
        lambda rows: 1 / (1 + np.exp(-rows[:, 0])), model_task="classification", metric="log_loss"
    )
    assert sloped.explain_global(rows, truth).global_importance_values[0] > 0.1
    with pytest.raises(ModelOutputError, match=r"^model: expected labels \(0, 1, 2\), .*, got 0.2"):
        PFIExplainer(lambda rows: np.tile([0.2, 1.5], 40), classes=[0, 1, 2]).explain_global(
            rows, truth
        )
    came = rows[:, 0].copy()
    with pytest.raises(ModelOutputError, match=r"^model: expected a column for each of 2 classes"):
        PFIExplainer(
            lambda rows: np.where(rows[:, 0] == came, 0.5, 1.5), classes=[0, 1]
        ).explain_global(rows, truth)


@pytest.mark.parametrize("labels", [[0, 1], [1, 2], ["no", "yes"], [False, True]])
@pytest.mark.parametrize("metric", [None, "f1_macro", "balanced_accuracy_score", "accuracy"])
def test_models_that_answer_labels_are_asked_by_what_is_true(labels, metric):
    """Functions with and without names, and classes of one's own with and without `classes_`."""
    _, _, rows, truth = pure_leaves(labels)
    forest = RandomForestClassifier(5, max_depth=2, random_state=0).fit(rows, truth)

    class Only:
        predict = staticmethod(forest.predict)

    class Both(Only):
        predict_proba = staticmethod(forest.predict_proba)

    fast = {"metric": metric, "n_repeats": 2}
    own = PFIExplainer(forest, **fast).explain_global(rows, truth)
    told = {"model_task": "classification", **fast}
    others = [
        PFIExplainer(forest.predict, **told),
        PFIExplainer(forest.predict, classes=labels, **fast),
        PFIExplainer(Only(), **told),
        PFIExplainer(Both(), **fast),
    ]
    for other in others:
        found = other.explain_global(rows, truth)
        assert found.global_importance_values == own.global_importance_values
    if metric is None:
        both = PFIExplainer(Both(), metric="log_loss").explain_global(rows, truth)
        own = PFIExplainer(forest, metric="log_loss").explain_global(rows, truth)
        assert both.global_importance_values == own.global_importance_values


def test_answers_that_are_no_numbers_are_labels():
    """Nobody has to say so."""
    _, _, rows, truth = pure_leaves(["no", "yes"])
    model = LogisticRegression().fit(rows, truth)
    found = PFIExplainer(model.predict).explain_global(rows, truth)
    assert found.model_task == "classification"
    assert found.classes == ["no", "yes"]
    own = PFIExplainer(model).explain_global(rows, truth)
    assert found.global_importance_values == own.global_importance_values
    with pytest.raises(ValueError, match="answers labels alone has no probabilities"):
        PFIExplainer(model.predict, metric="log_loss", is_error_metric=True).explain_global(
            rows, truth
        )
    with pytest.raises(ValueError, match="say model_task='classification'"):
        PFIExplainer(lambda rows: rows[:, 0]).explain_global(rows, truth)
    with pytest.raises(ValueError, match="classes= names what a function predicts"):
        PFIExplainer(model.predict_proba).explain_global(rows, truth)
    with pytest.raises(ValueError, match=r"what the model predicts, 'no', 'maybe', got 'yes'"):
        PFIExplainer(model.predict, classes=["no", "maybe"]).explain_global(rows, truth)
    with pytest.raises(ValueError, match="classes: expected 2 names, one for each column"):
        PFIExplainer(model.predict_proba, classes=["no", "yes", "?"]).explain_global(rows, truth)


@pytest.mark.parametrize("spelling", ["model", "method", "pipeline", "transformations", "booster"])
def test_columns_are_matched_by_name(spelling):
    """In any order, as they came; what is missing or unknown is named."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 3)), columns=list("abc"))
    truth = (frame["a"] + frame["b"] ** 2 > 0.5).to_numpy(dtype=int)
    scaler = StandardScaler().set_output(transform="pandas").fit(frame)
    forest = RandomForestClassifier(5, random_state=0).fit(frame, truth)
    boosted = LGBMClassifier(n_estimators=5, verbose=-1).fit(frame, truth).booster_
    model, options = {
        "model": (forest, {}),
        "method": (forest.predict, {"model_task": "classification"}),
        "pipeline": (make_pipeline(scaler, forest), {}),
        "transformations": (forest, {"transformations": scaler}),
        "booster": (boosted, {}),
    }[spelling]
    options["n_repeats"] = 2
    whole = PFIExplainer(model, **options).explain_global(frame, truth)
    values = dict(zip(whole.features, whole.global_importance_values, strict=True))
    for order in (["b", "a", "c"], ["c", "a", "b"]):
        found = PFIExplainer(model, **options).explain_global(frame[order], truth)
        assert found.features == order
        assert found.global_importance_values == [values[name] for name in order]
        renamed = PFIExplainer(
            model, features=list("xyz"), explain_subset=["z", 0], **options
        ).explain_global(frame[order], truth)
        assert renamed.features == ["z", "x"]
        assert renamed.global_importance_values == [values[order[2]], values[order[0]]]
    explainer = PFIExplainer(model, **options)
    with pytest.raises(ValueError, match="'c' are missing, and none are unknown"):
        explainer.explain_global(frame[["a", "b"]], truth)
    with pytest.raises(ValueError, match="'c' are missing, and 'd' are unknown"):
        explainer.explain_global(frame.rename(columns={"c": "d"}), truth)
    numbered = explainer.explain_global(pd.DataFrame(frame.to_numpy()), truth)
    assert numbered.global_importance_values == list(values.values())
    with pytest.raises(ValueError, match="expected 3 columns, those that the model was fitted on"):
        explainer.explain_global(frame.to_numpy()[:, :2], truth)


@pytest.mark.parametrize("is_booster", [False, True])
def test_columns_with_blanks_are_those_on_which_lightgbm_was_fitted(is_booster):
    """It keeps their names with underscores; they come in any order, and are missed by name."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 2)), columns=["mean age", "zip"])
    truth = (frame["mean age"] > 0.5).to_numpy(dtype=int)
    model = LGBMClassifier(n_estimators=5, verbose=-1).fit(frame, truth)
    explainer = PFIExplainer(model.booster_ if is_booster else model)
    found = explainer.explain_global(frame[["zip", "mean age"]], truth)
    assert found.get_ranked_global_names() == ["mean age", "zip"]
    assert found.global_importance_values[1] > 0.1
    with pytest.raises(ValueError, match="but 'mean_age' are missing, and 'age' are unknown"):
        explainer.explain_global(frame.set_axis(["age", "zip"], axis=1), truth)


def test_rows_that_the_model_refuses_are_not_blamed_on_the_metric():
    """Who says it is named."""
    model, rows, truth = binary()
    with pytest.raises(ModelOutputError, match=r"model: expected one .*, which says: could n"):
        PFIExplainer(model).explain_global(np.where(rows > 1, "text", "x"), truth)


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix, pd.DataFrame])
@pytest.mark.parametrize("n_rows", [0, 1])
def test_too_few_rows_are_refused(kind, n_rows):
    """One row has nothing to be permuted with."""
    model, rows, truth = binary()
    with pytest.raises(ValueError, match=f"expected at least 2 rows, .*, got {n_rows}"):
        PFIExplainer(model).explain_global(kind(rows[:n_rows]), truth[:n_rows])


def test_a_bare_booster_is_asked_with_rows():
    """As the estimator around it."""
    model = XGBRegressor(n_estimators=5).fit(X_DIABETES, Y_DIABETES)
    own = PFIExplainer(model, n_repeats=2).explain_global(X_DIABETES, Y_DIABETES)
    bare = PFIExplainer(model.get_booster(), n_repeats=2).explain_global(X_DIABETES, Y_DIABETES)
    np.testing.assert_allclose(
        bare.global_importance_values, own.global_importance_values, rtol=1e-6, atol=1e-9
    )
    classifier = XGBClassifier(n_estimators=5).fit(ROWS, SPECIES > 1)
    own = PFIExplainer(classifier, n_repeats=2).explain_global(ROWS, SPECIES > 1)
    bare = PFIExplainer(
        classifier.get_booster(), n_repeats=2, model_task="classification"
    ).explain_global(ROWS, (SPECIES > 1).astype(int))
    assert bare.global_importance_values == own.global_importance_values


@pytest.mark.parametrize(
    "metric", ["cohen_kappa_score", "adjusted_rand_score", "v_measure_score", "mutual_info_score"]
)
def test_metrics_of_two_sides_are_known(metric):
    """Functions of sklearn.metrics that do not call their first argument y_true."""
    function = getattr(sklearn.metrics, metric)
    found = PFIExplainer(CLASSIFIER, metric=metric).explain_global(ROWS, SPECIES)
    theirs = permutation_importance(
        CLASSIFIER, ROWS, SPECIES, scoring=make_scorer(function), n_repeats=10, random_state=0
    )
    np.testing.assert_array_equal(found.global_importance_values, theirs.importances_mean)


def test_lightgbm_with_categories_is_asked_with_its_frame():
    """No name or category is lost on the way."""
    frame = pd.DataFrame({"kind": pd.Categorical(list("abcd") * 25), "noise": np.arange(100.0)})
    labels = frame["kind"].isin(["a", "c"]).to_numpy()
    model = LGBMClassifier(
        n_estimators=5, min_child_samples=2, min_data_per_group=2, cat_smooth=0, verbose=-1
    )
    model.fit(frame, labels)
    overall = PFIExplainer(model).explain_global(frame, labels)
    assert overall.get_ranked_global_names(1) == ["kind"]


def test_standard_errors_cover_the_permutation():
    """Over 100 seeds, some 95% of the intervals hold the mean over all of them."""
    model, rows, y = one_column()
    means, errors = [], []
    for seed in range(100):
        overall = PFIExplainer(
            model.predict,
            seed=seed,
            n_repeats=12,
            explain_subset=[0],
            metric=squared,
            is_error_metric=True,
            show_progress=False,
        ).explain_global(rows, y)
        means.append(overall.global_importance_values[0])
        errors.append(overall.standard_errors[0])
    truth = np.mean(means)
    is_covered = np.abs(np.array(means) - truth) <= 2.2 * np.array(errors)  # t of 11 degrees
    assert 0.9 <= is_covered.mean() <= 0.99
    once = PFIExplainer(model, n_repeats=1).explain_global(rows, y)
    assert once.standard_errors is None


def test_there_is_nothing_local():
    """What cannot exist says why, or is absent."""
    explainer = PFIExplainer(CLASSIFIER)
    with pytest.raises(NotImplementedError, match="a metric is one number for all rows"):
        explainer.explain_local(ROWS)
    overall = explainer.explain_global(ROWS, SPECIES)
    for absent in ("local_importance_values", "per_class_values", "expected_values"):
        assert not hasattr(overall, absent)
    assert pickle.loads(pickle.dumps(explainer)).explain_global(ROWS, SPECIES).features


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"metric": "f1_scor"}, "did you mean 'f1_score'"),
        ({"metric": "confusion_matrix"}, "returns one number, got 'confusion_matrix'"),
        ({"metric": 3}, "metric: expected the name of a metric"),
        ({"metric": sklearn.metrics.log_loss}, "expected True for log_loss, which is an error"),
        ({"metric": "f1_score", "is_error_metric": True}, "expected False for f1_score"),
        ({"metric": "accuracy", "is_error_metric": True}, "with the scorer accuracy"),
        ({"metric": "f1_score", "metric_args": {"averages": 1}}, "got averages"),
        ({"n_repeats": 0}, "n_repeats: expected a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed: expected a whole number of at least 0"),
        ({"model_task": "ranking"}, "model_task: expected one of"),
    ],
    ids=written,
)
def test_what_cannot_be_is_refused_at_once(options, refusal):
    """Before there are rows."""
    with pytest.raises(ValueError, match=refusal):
        PFIExplainer(CLASSIFIER, **options)


def test_classes_need_probabilities():
    """In the words that people know."""
    model = RidgeClassifier().fit(ROWS, SPECIES)
    told = (
        r"^Classes is specified but model does not define predict_proba, only predict\. Leave "
        r"classes out, .* PFIExplainer\(model\.predict, is_function=True, classes=…\)\.$"
    )
    with pytest.raises(ValueError, match=told):
        PFIExplainer(model, classes=["a", "b", "c"])
    way_out = PFIExplainer(model.predict, is_function=True, classes=[0, 1, 2])
    found, own = way_out.explain_global(ROWS, SPECIES), PFIExplainer(model)
    assert (
        found.global_importance_values == own.explain_global(ROWS, SPECIES).global_importance_values
    )
    with pytest.raises(TypeError, match=r"of an estimator give a method, as model\.predict"):
        PFIExplainer(model, is_function=True)
    with pytest.raises(
        TypeError, match="an estimator with predict, or a function of rows, got int"
    ):
        PFIExplainer(3)


@pytest.mark.parametrize(
    ("labels", "kind", "refusal"),
    [
        (None, TypeError, "PFI explainer requires true_labels"),
        (SPECIES[:3], ValueError, r"one for each of 150 rows, got shape \(3,\)"),
        (["setosa"] * 150, ValueError, "expected what the model predicts, 0, 1, 2, got 'setosa'"),
        (SPECIES.where(SPECIES != 1), ValueError, "50 are missing, the first in row 50"),
        (
            np.eye(3)[SPECIES],
            ValueError,
            r"^true_labels: expected shape \(150,\), as .*, got shape \(150, 3\); of a column for",
        ),
        (np.zeros((150, 2, 2)), ValueError, r"as the model's predictions, got shape \(150, 2, 2\)"),
        ([[0], [1, 2]] * 75, ValueError, "one for each row, got lists of different lengths"),
    ],
    ids=written,
)
def test_labels_are_held_against_rows_and_model(labels, kind, refusal):
    """One sentence each."""
    with pytest.raises(kind, match=refusal):
        PFIExplainer(CLASSIFIER).explain_global(ROWS, labels)


@pytest.mark.parametrize(
    ("labels", "refusal"),
    [
        (
            np.c_[Y_DIABETES, Y_DIABETES],
            r"shape \(442,\), as .* predictions, got shape \(442, 2\)\.$",
        ),
        (
            np.where(Y_DIABETES > 300, np.inf, Y_DIABETES),
            "finite numbers, got an infinite one in row",
        ),
        (pd.date_range("2020-01-01", periods=442), "numbers, for a regression, got"),
        (Y_DIABETES * 1j, "numbers, for a regression, got"),
    ],
    ids=["two columns", "infinite", "dates", "complex"],
)
def test_labels_of_a_regression_are_held_against_it(labels, refusal):
    """What is at fault is named, not the metric."""
    with pytest.raises(ValueError, match=f"^true_labels: expected .*{refusal}"):
        PFIExplainer(REGRESSOR).explain_global(X_DIABETES, labels)


def test_labels_and_answers_of_one_column_have_one_axis():
    """Objects that are numbers are numbers, and a model's column meets labels one by one."""
    expected = PFIExplainer(CLASSIFIER, n_repeats=2).explain_global(ROWS, SPECIES)
    for labels in (SPECIES.astype(object), SPECIES.to_numpy()[:, None], csr_matrix(SPECIES).T):
        found = PFIExplainer(CLASSIFIER, n_repeats=2).explain_global(ROWS, labels)
        assert found.global_importance_values == expected.global_importance_values
    column = LinearRegression().fit(X_DIABETES, Y_DIABETES[:, None])  # it answers (442, 1)
    values = []
    for model in (REGRESSOR, column):
        explainer = PFIExplainer(model, metric=squared, is_error_metric=True, n_repeats=2)
        values.append(explainer.explain_global(X_DIABETES, Y_DIABETES).global_importance_values)
    np.testing.assert_allclose(values[1], values[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"sample_weight": ["a"] * 150}, "got something else: could not convert string"),
        ({"sample_weight": [1.0] * 149}, r"got shape \(149,\)"),
        ({"sample_weight": np.where(np.arange(150) == 7, np.nan, 1)}, "got nan in row 7"),
        ({"sample_weight": np.where(np.arange(150) == 7, -2, 1)}, "got -2.0 in row 7"),
        ({"sample_weight": np.zeros(150)}, "not all 0, got zeros alone"),
        ({"max_samples": 151}, "a number of rows from 2 to 150, .*, got 151"),
        ({"max_samples": 1}, "a number of rows from 2 to 150, .*, got 1"),
        ({"max_samples": 0.01}, "a share of up to 1.0, .*, got 0.01"),
        ({"max_samples": 0.0}, "a share of up to 1.0, .*, got 0.0"),
        ({"max_samples": "half"}, "a share of up to 1.0, .*, got 'half'"),
    ],
    ids=written,
)
def test_weights_and_samples_that_cannot_be_are_refused(options, refusal):
    """With the value and its row, and not as a fault of the metric."""
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name}: expected .*{refusal}"):
        PFIExplainer(CLASSIFIER).explain_global(ROWS, SPECIES, **options)


def test_rows_weights_and_metrics_that_do_not_fit_are_refused():
    """One sentence each."""
    explainer = PFIExplainer(CLASSIFIER)
    with pytest.raises(ValueError, match="expected rows with columns"):
        explainer.explain_global([1, 2, 3], [0, 1, 2])
    with pytest.raises(ValueError, match="sample_weight: expected a number of at least 0"):
        explainer.explain_global(ROWS, SPECIES, sample_weight=[1])
    with pytest.raises(ValueError, match="features: expected 4 different names"):
        PFIExplainer(CLASSIFIER, features=["a"]).explain_global(ROWS, SPECIES)
    with pytest.raises(ValueError, match="roc_auc_score, which says: multi_class must be in"):
        PFIExplainer(CLASSIFIER, metric="roc_auc_score").explain_global(ROWS, SPECIES)
    with pytest.raises(ValueError, match="true_labels: expected numbers, for a regression"):
        PFIExplainer(REGRESSOR).explain_global(X_DIABETES, ["a"] * len(X_DIABETES))
    with pytest.raises(ValueError, match="a finite number from <lambda>, got nan"):
        PFIExplainer(CLASSIFIER, metric=lambda true, predicted: np.nan).explain_global(
            ROWS, SPECIES
        )
    with pytest.raises(ValueError, match="answers labels alone has no probabilities"):
        PFIExplainer(
            CLASSIFIER.predict, model_task="classification", metric="log_loss"
        ).explain_global(ROWS, SPECIES)


def test_a_model_or_a_metric_that_writes_into_what_it_gets_changes_nothing():
    """The numbers are those of a model that does not, and rows and labels stay as they are."""
    rows = pd.DataFrame(np.random.default_rng(0).uniform(1, 9, (200, 2)), columns=["a", "b"])
    labels = rows["a"] / 10 + 0.2 * rows["b"]
    before, labels_before = rows.copy(), labels.to_numpy().copy()

    def tidy(frame):
        return frame["a"] / 10 + 0.2 * frame["b"]

    def untidy(frame):
        frame["a"] = frame["a"] / 10
        return frame["a"] + 0.2 * frame["b"]

    def metric(truth, found):
        error = np.abs(truth - found).mean()
        truth[:] = 0
        return error

    options = {"is_function": True, "metric": metric, "is_error_metric": True}
    expected = PFIExplainer(tidy, **options).explain_global(rows, labels.to_numpy())
    found = PFIExplainer(untidy, **options).explain_global(rows, labels.to_numpy())
    assert found.global_importance_values == pytest.approx(expected.global_importance_values)
    pd.testing.assert_frame_equal(rows, before)
    np.testing.assert_array_equal(labels, labels_before)


@pytest.mark.parametrize("form", ["array", "lists", "records", "fields", "frame"])
def test_explanations_know_their_rows_in_whatever_form_these_came(form, tmp_path):
    """Only a DataFrame has labels; what came can be saved, and comes back."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 3)), columns=list("abc"))
    frame.index = pd.Index([f"row {i}" for i in range(30)])
    truth = (frame["a"] > 0).to_numpy(dtype=int)
    rows = {
        "array": frame.to_numpy(),
        "lists": frame.to_numpy().tolist(),
        "records": frame.to_dict("records"),
        "fields": frame.to_records(index=False),
        "frame": frame,
    }[form]
    model = LogisticRegression().fit(frame, truth)
    found = PFIExplainer(model, n_repeats=2).explain_global(rows, truth)
    expected = PFIExplainer(model, n_repeats=2).explain_global(frame, truth)
    assert found.global_importance_values == expected.global_importance_values
    loaded = load_explanation(save_explanation(found, tmp_path / "e", include_data=True))
    for explanation in (found, loaded):
        assert len(explanation.eval_data) == 30
        labels = frame.index if form == "frame" else range(30)
        assert explanation.row_labels == list(labels)


@pytest.mark.parametrize("seed", [0, 2**40])
@pytest.mark.parametrize(
    ("metric", "scorer"),
    [
        (partial(log_loss), "neg_log_loss"),
        (partial(log_loss, labels=[0, 1]), "neg_log_loss"),
        (partial(roc_auc_score, average="weighted"), "roc_auc"),
        (partial(partial(brier_score_loss), pos_label=1), "neg_brier_score"),
        (partial(f1_score, average="macro"), "f1_macro"),
        (partial(accuracy_score), "accuracy"),
    ],
)
def test_a_metric_that_some_arguments_are_bound_to_is_asked_as_it_is_without(metric, scorer, seed):
    """With probabilities where it wants them: labels would give other numbers, in silence."""
    rows = np.random.default_rng(0).normal(size=(60, 3))
    truth = (rows[:, 0] + 0.5 * rows[:, 1] > 0).astype(int)
    model = LogisticRegression().fit(rows, truth)
    is_error = scorer.startswith("neg_")
    found = PFIExplainer(model, metric=metric, is_error_metric=is_error, n_repeats=2, seed=seed)
    expected = permutation_importance(
        model, rows, truth, scoring=scorer, n_repeats=2, random_state=seed % 2**32
    )
    values = found.explain_global(rows, truth).global_importance_values
    np.testing.assert_allclose(values, expected.importances_mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("function", "sign", "told"),
    [
        (mean_squared_error, True, "greater_is_better=False"),
        (log_loss, True, "greater_is_better=False"),
        (accuracy_score, False, "greater_is_better=True"),
    ],
)
def test_a_scorer_with_the_wrong_sign_is_refused(function, sign, told):
    """Its ranking would be reversed; one of a function of one's own is the user's to judge."""
    model = LinearRegression()
    with pytest.raises(ValueError, match=f"a scorer of which more is better.*{told}"):
        PFIExplainer(model, metric=make_scorer(function, greater_is_better=sign))
    PFIExplainer(model, metric=make_scorer(function, greater_is_better=not sign))
    PFIExplainer(model, metric=make_scorer(lambda true, found: 0.0, greater_is_better=sign))
