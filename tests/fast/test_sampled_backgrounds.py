"""What is exact on some of the examples is not exact: its error is in the standard errors.

The budgets are made small here, so that few examples are too many; the truth is on all of them.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR

from service.engines import builders
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save
from service.shapley.trees import patterns

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 8))
TARGET = X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * RNG.normal(size=300)
CLASSES = (TARGET > 0).astype(int)
ROWS = X[[3, 77]]
MIXED = pd.DataFrame(X[:, :6], columns=list("abcdef")).assign(kind=RNG.choice(["u", "v", "w"], 300))
QUIET = pytest.mark.filterwarnings("ignore:The importances of engine:UserWarning")


def cut(monkeypatch):
    """Leave room for no more than a hundred of the examples."""
    monkeypatch.setattr(builders, "AFFORDABLE_FACTORS", 2 * 10**5)
    monkeypatch.setattr(builders, "AFFORDABLE_EXPONENTIALS", 10**4)


def encoded(model):
    encoder = make_column_transformer((OneHotEncoder(), ["kind"]), remainder=StandardScaler())
    return make_pipeline(encoder, model)


# By name: the model, its examples and targets, the rows, the output and the method.
CUT = {
    "product": (SVR(C=10), X, TARGET, ROWS, "auto", "product/sampled"),
    "margin": (SVC(C=3), X, CLASSES, ROWS, "margin", "product/sampled"),
    "ridge": (KernelRidge(kernel="laplacian"), X, TARGET, ROWS, "auto", "product/sampled"),
    "encoded": (encoded(SVR(C=3)), MIXED, TARGET, MIXED[:2], "auto", "product/sampled"),
    "polynomial": (SVR(kernel="poly", coef0=1), X, TARGET, ROWS, "auto", "polynomial/sampled"),
    "probability": (
        SVC(probability=True, random_state=0),
        X,
        CLASSES,
        ROWS,
        "probability",
        "kernel/product",
    ),
    "polynomial-probability": (
        SVC(kernel="poly", coef0=1, probability=True, random_state=0),
        X,
        CLASSES,
        ROWS,
        "probability",
        "kernel/polynomial",
    ),
}


def explained(case, **options):
    """Explain all examples by the default, and on all of them."""
    model, examples, targets, rows, output, _ = CUT[case]
    model.fit(examples, targets)
    explainer = TabularExplainer(model, examples, output=output, **options)
    return explainer, explainer.row_explainer.explain(rows)


def errors_of(local):
    return 0.0 if local.standard_errors is None else local.standard_errors


@QUIET
@pytest.mark.filterwarnings("ignore:.*probability.*:FutureWarning")
@pytest.mark.parametrize("case", CUT)
def test_the_standard_errors_cover_the_importances_on_all_examples(case, monkeypatch):
    """The estimate is of all examples: expected value, sum and, within its errors, each part."""
    method = CUT[case][-1]
    _, truth = explained(case, background="whole")
    cut(monkeypatch)
    distances = []
    for seed in range(2):
        explainer, local = explained(case, random_state=seed)
        assert (explainer.method, local.standard_errors is not None) == (method, True)
        np.testing.assert_allclose(local.expected_values, truth.expected_values, atol=1e-9)
        sums = local.values.sum(axis=-1) - truth.values.sum(axis=-1)
        np.testing.assert_allclose(sums, 0, atol=1e-8)
        noise = np.hypot(local.standard_errors, errors_of(truth))
        distances.append((local.values - truth.values) / noise)
    assert 0.5 < np.sqrt(np.mean(np.square(distances))) < 1.5


@QUIET
def test_the_regression_on_what_is_known_beats_the_plain_sample(monkeypatch):
    """As many rows, taken as they are, and ten centres of k-means, are further off."""
    _, truth = explained("product", background="whole")
    cut(monkeypatch)
    errors = {}
    for name, options in {
        "auto": {},
        "sample": {"background": "sample", "background_size": 100},
        "kmeans": {"background": "kmeans"},
    }.items():
        _, local = explained("product", **options)
        errors[name] = np.sqrt(np.square(local.values - truth.values).mean())
    assert errors["auto"] < 0.7 * errors["sample"]
    assert errors["auto"] < 0.3 * errors["kmeans"]


@QUIET
@pytest.mark.filterwarnings("ignore:.*probability.*:FutureWarning")
def test_it_is_saved_and_answers_the_same(monkeypatch, tmp_path):
    """The manifest calls it estimated, and the loaded explainer gives the same bytes."""
    cut(monkeypatch)
    for case in ("product", "polynomial", "probability"):
        explainer, local = explained(case)
        scoring = KernelScoringExplainer(explainer)
        said = scoring.to_dict()
        assert said["background"]["relative_error"] == 0.0
        assert 0 < said["relative_standard_error"] < 1
        loaded = load(save(scoring, tmp_path / case))
        assert loaded.explain_rows(ROWS).values.tobytes() == local.values.tobytes()
        assert loaded.explain_rows(ROWS[1:2]).values.tobytes() != local.values.tobytes()
        of_part = scoring.method.endswith("/sampled")
        assert (
            loaded.exactness == {True: "exact on a sampled background", False: "sampled"}[of_part]
        )


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (LinearRegression(), {}),
        (RandomForestRegressor(10, max_depth=3, random_state=0), {}),
        (SVR(), {}),
        (SVR(kernel="poly"), {}),
        (LogisticRegression(), {"output": "probability"}),
        (GradientBoostingClassifier(n_estimators=10), {"output": "probability"}),
        (lambda x: x[:, 0] * x[:, 1] + x[:, 2], {}),
    ],
    ids=["linear", "trees", "product", "polynomial", "logistic", "boosting", "called"],
)
@QUIET
def test_a_sample_by_name_says_its_error_too(model, options):
    """Over samples, what is off is what the standard errors say; a part of them is coalitions."""
    examples = X[:, :5]
    if hasattr(model, "fit"):
        model.fit(examples, CLASSES if options or hasattr(model, "classes_") else TARGET)
    truth = TabularExplainer(model, examples, background="whole", **options)
    truth = truth.row_explainer.explain(examples[:3])
    distances = []
    for seed in range(4):
        sampled = TabularExplainer(
            model, examples, background="sample", random_state=seed, **options
        )
        local = sampled.row_explainer.explain(examples[:3])
        off = local.values - truth.values
        noise = np.hypot(local.standard_errors, errors_of(truth))
        distances.append(np.sqrt(np.square(off).mean() / np.square(noise).mean()))
    assert 0.5 < np.mean(distances) < 1.6


def test_a_build_warns_where_a_typical_importance_is_off_by_a_tenth():
    """By name or by itself, sampled or summarised; and nothing is said of less, or of all."""
    model = SVR().fit(X, TARGET)
    with pytest.warns(UserWarning, match=r"'product' are off by about .*sample, 20 of 300"):
        TabularExplainer(model, X, background="sample", background_size=20)
    with pytest.warns(UserWarning, match="kmeans, 10 of 300 rows"):
        TabularExplainer(model, X, background="kmeans")
    TabularExplainer(model, X)


def test_the_estimate_of_few_sampled_rows_warns_as_well(monkeypatch):
    """The default cuts the examples down, and says how far that leaves the importances."""
    cut(monkeypatch)
    monkeypatch.setattr(builders, "FEWEST_SAMPLED_ROWS", 30)
    monkeypatch.setattr(builders, "MOST_SAMPLED_ROWS", 30)
    model = SVR(C=100, gamma=0.5).fit(X, TARGET)
    with pytest.warns(UserWarning, match="'product/sampled' are off by about"):
        TabularExplainer(model, X)


def test_a_forest_is_not_built_for_as_long_as_it_has_leaves(monkeypatch):
    """Where few features leave room for all patterns of all examples, their number is bounded too:
    then a sample is met, with errors, or all are where the background is chosen, exactly.
    """
    columns = X[:, :4]
    model = RandomForestRegressor(20, random_state=0, n_jobs=1).fit(columns, TARGET)
    whole = TabularExplainer(model, columns).explain_local(columns[:4])
    monkeypatch.setattr(patterns, "MOST_MET", 10_000)
    monkeypatch.setattr(builders, "AFFORDABLE_STEPS", 10)
    monkeypatch.setattr(builders, "N_SAMPLED_ROWS", 40)
    monkeypatch.setattr("service.shapley.trees.sampled.MOST_NUMBERS", 0)  # nothing is exact
    chosen = TabularExplainer(model, columns, background="whole")
    np.testing.assert_allclose(
        chosen.explain_local(columns[:4]).local_importance_values,
        whole.local_importance_values,
        atol=1e-12,
    )
    with pytest.warns(UserWarning, match="or, where a sample of these rows is met .*'whole'"):
        cut_down = TabularExplainer(model, columns)
    found = cut_down.explain_local(columns[:4])
    assert (chosen.method, cut_down.method) == ("tree", "tree/sampled")
    off = np.subtract(found.local_importance_values, whole.local_importance_values)
    assert (np.abs(off) < 4 * np.array(found.standard_errors)).all()


def test_one_row_beyond_those_that_are_met_leaves_hardly_an_error(monkeypatch):
    """A sample of nearly all rows is as exact as all of them; what is cut off is met by as many."""
    model = RandomForestRegressor(10, random_state=0, n_jobs=1).fit(X, TARGET)
    rows = X[:193]
    monkeypatch.setattr(builders, "AFFORDABLE_STEPS", 10)
    monkeypatch.setattr(builders, "affordable_rows", lambda _: 0)
    monkeypatch.setattr("service.shapley.trees.sampled.MOST_NUMBERS", 8000)  # something is cut off
    whole = TabularExplainer(model, rows, background="whole").row_explainer.explain(X[-4:])
    cut_down = TabularExplainer(model, rows)
    assert cut_down.method == "tree/sampled"
    found = cut_down.row_explainer.explain(X[-4:])
    size = np.abs(whole.values).max()
    np.testing.assert_allclose(found.values, whole.values, rtol=0, atol=size / 200)
    assert 0 < found.standard_errors.max() < size / 400
