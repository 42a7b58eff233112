"""Linear models behind PolynomialFeatures: exact, whatever stands before and between."""

import numpy as np
import pandas as pd
import pytest
from shapley_by_definition import shapley_by_definition
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save
from service.structures.behind.terms import MOST_TERMS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)) * [1, 2, 0.5, 3] + [0, 1, -2, 0]
Y = X[:, 0] * X[:, 1] * X[:, 2] + X[:, 3] ** 2 - X[:, 0]
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(
    town=RNG.choice(["Ghent", "Oslo", "Turin"], size=50)
)
ONE_HOT = make_column_transformer(
    (OneHotEncoder(), ["town"]), (StandardScaler(), ["b", "a"]), remainder="passthrough"
)

REGRESSORS = {
    "degree 2": make_pipeline(PolynomialFeatures(), Ridge()),
    "degree 4": make_pipeline(StandardScaler(), PolynomialFeatures(4), Ridge()),
    "from degree 2 on": make_pipeline(PolynomialFeatures((2, 3)), Ridge()),
    "no squares, no constant": make_pipeline(
        PolynomialFeatures(3, interaction_only=True, include_bias=False), LinearRegression()
    ),
    "scaled in between": make_pipeline(
        PolynomialFeatures(3), RobustScaler(), StandardScaler(), MinMaxScaler((2, 5)), Ridge()
    ),
    "in a search": GridSearchCV(
        make_pipeline(MaxAbsScaler(), make_pipeline(PolynomialFeatures(), MaxAbsScaler()), Ridge()),
        {"ridge__alpha": [1, 2]},
        cv=2,
    ),
    "scaled as frames": make_pipeline(
        PolynomialFeatures().set_output(transform="pandas"), StandardScaler(), Ridge()
    ),
}


def by_definition(ask, row, examples):
    """Importances by enumeration, shape (n_outputs, n_features)."""

    def columns(rows):
        answer = np.asarray(ask(rows))
        return answer if answer.ndim > 1 else answer[:, None]

    return shapley_by_definition(columns, row, examples, np.ones(len(examples)))


def importances(explainer, rows):
    """Of the last row, shape (n_outputs, n_features)."""
    values = np.array(explainer.explain_local(rows).local_importance_values)
    return values[..., -1, :].reshape(-1, values.shape[-1])


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_get_the_shapley_values_of_the_definition(name):
    """By calling the model on every coalition and every example; nothing is estimated."""
    model = REGRESSORS[name].fit(X, Y)
    explainer = TabularExplainer(model, X)
    local = explainer.explain_local(X[:2] + 0.3)
    assert (local.method, local.standard_errors) == ("polynomial", None)
    expected = by_definition(model.predict, X[1] + 0.3, X)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(importances(explainer, X[:2] + 0.3), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("model", [LogisticRegression(), LinearSVC()], ids=["logistic", "svc"])
def test_classifiers_are_exact_on_the_margin(model, n_classes):
    """For each class; of two, −m and m."""
    labels = np.digitize(Y, np.quantile(Y, [0.3, 0.7])[: n_classes - 1])
    model = make_pipeline(StandardScaler(), PolynomialFeatures(), model).fit(X, labels)
    explainer = TabularExplainer(model, X)
    expected = by_definition(model.decision_function, X[4], X)
    if n_classes == 2:
        expected = np.concatenate([-expected, expected])
    assert explainer.method == "polynomial"
    np.testing.assert_allclose(importances(explainer, X[3:5]), expected, rtol=0, atol=1e-9)


def test_columns_of_one_feature_move_together():
    """Terms of one-hot columns, of these and numbers, and of two columns of one feature: the
    features are the raw columns, by name and in any order.
    """
    model = make_pipeline(ONE_HOT, PolynomialFeatures(3), Ridge()).fit(FRAME, Y)
    explainer = TabularExplainer(model, FRAME)

    def ask(rows):
        return model.predict(pd.DataFrame(rows, columns=FRAME.columns).astype(FRAME.dtypes))

    expected = by_definition(ask, FRAME.to_numpy()[7], FRAME.to_numpy())
    shuffled = FRAME.iloc[6:8][["town", "d", "a", "c", "b"]]
    np.testing.assert_allclose(importances(explainer, shuffled), expected, rtol=0, atol=1e-9)


def test_a_feature_that_does_not_vary_has_no_importance():
    """Exactly none, and the others' are those of the model without it."""
    rows = X.copy()
    rows[:, 2] = 0.7
    model = make_pipeline(PolynomialFeatures(3), Ridge()).fit(X, Y)
    found = importances(TabularExplainer(model, rows), rows[:1])
    assert found[0, 2] == 0
    expected = by_definition(model.predict, rows[0], rows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore:The importances of engine 'polynomial' are off")
@pytest.mark.parametrize("background", ["whole", "sample", "kmeans"])
def test_other_backgrounds_weigh_their_rows(background):
    """Expected value and importances add up to the prediction on each."""
    model = make_pipeline(PolynomialFeatures(), Ridge()).fit(X, Y)
    explainer = TabularExplainer(model, X, background=background, background_size=None)
    local = explainer.explain_local(X[:5])
    sums = np.sum(local.local_importance_values, axis=1) + local.expected_values
    np.testing.assert_allclose(sums, model.predict(X[:5]), rtol=0, atol=1e-12)


def test_it_is_saved_without_the_model_and_loaded(tmp_path):
    """The same bytes afterwards, alone and in a batch."""
    model = make_pipeline(PolynomialFeatures(), Ridge()).fit(X, Y)
    explainer = KernelScoringExplainer(TabularExplainer(model, X))
    path = save(explainer, tmp_path / "saved")
    assert b"Ridge" not in path.read_bytes()
    loaded = load(tmp_path / "saved")
    assert loaded.explain(X[:3]) == explainer.explain(X[:3])
    assert loaded.explain(X[2:3])[0] == loaded.explain(X[:3])[2]


NOT_LOOKED_INTO = {
    "a probability": (LogisticRegression(), "probability", []),
    "what clips": (Ridge(), "auto", [MinMaxScaler(clip=True)]),
    "what mixes terms": (Ridge(), "auto", [PCA(3)]),
    "a transformed target": (
        TransformedTargetRegressor(Ridge(), func=np.arcsinh, inverse_func=np.sinh),
        "auto",
        [],
    ),
}


@pytest.mark.parametrize("name", NOT_LOOKED_INTO)
def test_what_is_no_sum_of_terms_is_called(name):
    """With standard errors, or from every coalition: never with a wrong closed form."""
    last, output, between = NOT_LOOKED_INTO[name]
    labels = Y > 0 if output == "probability" else Y
    model = make_pipeline(PolynomialFeatures(), *between, last).fit(X, labels)
    explainer = TabularExplainer(model, X, output=output)
    assert explainer.method == "kernel"


def test_very_many_terms_are_called(monkeypatch):
    """Looking at each would take longer than calling the model; the note says so."""
    monkeypatch.setattr("service.structures.behind.terms.MOST_TERMS", 10)
    model = make_pipeline(PolynomialFeatures(), Ridge()).fit(X, Y)
    explainer = TabularExplainer(model, X)
    assert (MOST_TERMS, explainer.method) == (50_000, "kernel")
    assert "makes 15 terms" in KernelScoringExplainer(explainer).to_dict()["note"]
