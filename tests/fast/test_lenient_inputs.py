"""Boosters read inputs more leniently than they were trained: codes between codes, and beyond."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OrdinalEncoder
from xgboost import XGBRegressor

from service.explainers import TabularExplainer
from service.shapley import kernels
from service.shapley.kernels import splits
from service.shapley.kernels.splits import code_of

N = 300
LIGHT = {"n_estimators": 20, "verbose": -1, "n_jobs": 1}
CODES = [0, 1, 1.5, 1.999, 5.5, -0.5, -0.999, -1, -1.5, -7, 5, 6, 31, 32, 100, 255, 256, 1e5]
HUGE = [2.0**31 - 1, 2.0**31, 2.0**32 + 1, 2.0**33 + 1, 1e18]
# Near zero, where libraries have thresholds of their own, and as far as single precision goes.
NUMBERS = [0.0, -0.0, 1e-40, -1e-40, 1e-36, 1e-35, 1.1e-35, -2e-35, 1e-10, 1e30, -3e38, 3e38]


def data(missing=0.0):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": np.where(rng.random(N) < 0.3, 0.0, rng.normal(size=N)),
            "kind": rng.integers(0, 6, N).astype(float),
            "place": rng.integers(0, 40, N).astype(float),
        }
    )
    y = np.where(frame["kind"].isin([0, 1, 4]), 3.0, -1.0) + frame["size"] + frame["place"] % 3
    return frame.mask(rng.random(frame.shape) < missing), y


def lenient_rows(frame, codes, numbers=NUMBERS):
    """Hybrid rows of the examples, with such values in some places, and missing ones."""
    rng = np.random.default_rng(1)
    hybrids = pd.DataFrame({name: rng.choice(frame[name], 200) for name in frame})
    for name in frame:
        given = rng.random(200) < 0.5
        hybrids.loc[given, name] = rng.choice(numbers if name == "size" else codes, given.sum())
    return hybrids.mask(rng.random(hybrids.shape) < 0.05)


def check_sums(model, frame, rows, method, tolerance=1e-9, **options):
    """Expected value and importances add up to the model's own output for every row."""
    explainer = TabularExplainer(model, frame, nullable=True, **options)
    assert explainer.method == method, explainer.row_explainer.note
    outputs = explainer.row_explainer.function(explainer.row_explainer.schema.matrix(rows))
    result = explainer.explain_local(rows)
    sums = np.sum(result.local_importance_values, axis=-1).T + result.expected_values
    scale = tolerance * np.abs(outputs).max()
    np.testing.assert_allclose(sums.reshape(outputs.shape), outputs, rtol=0, atol=scale)


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("model", [LGBMRegressor(**LIGHT), LGBMClassifier(**LIGHT)])
def test_lightgbm_cuts_codes_off_at_the_point(model, missing):
    """1.5 is category 1 and −0.5 category 0; what is negative or beyond is no category."""
    frame, y = data(missing)
    y = y > 1 if isinstance(model, LGBMClassifier) else y
    model.fit(frame, y, categorical_feature=["kind", "place"])
    check_sums(model, frame, lenient_rows(frame, CODES + HUGE), "tree")


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize(
    "model", [HistGradientBoostingRegressor(max_iter=15), HistGradientBoostingClassifier()]
)
def test_histogram_boosting_knows_its_categories_alone(model, missing):
    """Everything else is to it as if it was missing, where it takes missing values."""
    frame, y = data(missing)
    y = y > 1 if isinstance(model, HistGradientBoostingClassifier) else y
    model.set_params(categorical_features=["kind", "place"], max_iter=15).fit(frame, y)
    check_sums(model, frame, lenient_rows(frame, CODES + HUGE), "tree")


@pytest.mark.parametrize(
    ("model", "tolerance"),
    [
        (LGBMRegressor(**LIGHT), 1e-9),
        (HistGradientBoostingRegressor(max_iter=15), 1e-9),
        (XGBRegressor(n_estimators=20, n_jobs=1), 1e-6),
    ],
)
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_codes_as_numbers_are_numbers(model, tolerance, missing):
    """Without a word that they are categories; with zeros of every kind, and the largest."""
    frame, y = data(missing)
    check_sums(model.fit(frame, y), frame, lenient_rows(frame, CODES), "tree", tolerance)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "bool", "float32", "Int64"])
@pytest.mark.parametrize(
    ("model", "tolerance"),
    [
        (LGBMRegressor(**LIGHT), 1e-9),
        (HistGradientBoostingRegressor(max_iter=15), 1e-9),
        (GradientBoostingRegressor(n_estimators=15), 1e-9),
        (RandomForestRegressor(n_estimators=10), 1e-9),
        (XGBRegressor(n_estimators=20, n_jobs=1), 1e-6),
    ],
)
def test_whole_numbers_beyond_the_examples(model, tolerance, dtype):
    """Of every type: the largest and smallest that it holds, as the model reads them."""
    frame, y = data()
    frame = frame[["size", "kind"]].astype({"kind": dtype})
    y = y + 2 * frame["kind"].astype(float)
    rows = frame[:40].copy()
    codes = [0, 1, 5, 6, 100, 127, 0, 1]
    rows["kind"] = pd.Series((np.array(codes * 5) > 0) if dtype == "bool" else codes * 5).astype(
        dtype
    )
    explainer = TabularExplainer(model.fit(frame, y), frame)
    result = explainer.explain_local(rows)
    sums = np.sum(result.local_importance_values, axis=-1) + result.expected_values
    np.testing.assert_allclose(sums, model.predict(rows), rtol=0, atol=tolerance * 100)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            HistGradientBoostingRegressor(max_iter=15, categorical_features=[1, 2]),
        ),
        make_pipeline(KBinsDiscretizer(3, strategy="uniform"), LinearRegression()),
        make_pipeline(
            KBinsDiscretizer(3, encode="ordinal", strategy="uniform"), LGBMRegressor(**LIGHT)
        ),
    ],
)
def test_codes_that_an_encoder_makes(model):
    """A code of −1 for what is unknown, and bins that reach beyond the examples."""
    frame, y = data()
    model.fit(frame, y)
    explainer = TabularExplainer(model, frame)
    rows = lenient_rows(frame, CODES).dropna()
    outputs = explainer.row_explainer.function(explainer.row_explainer.schema.matrix(rows))
    result = explainer.explain_local(rows)
    sums = np.sum(result.local_importance_values, axis=-1) + result.expected_values
    np.testing.assert_allclose(sums, outputs[:, 0], rtol=0, atol=1e-9 * np.abs(outputs).max())


@pytest.mark.parametrize("kind", ["text", "numbers"])
def test_xgboosts_own_categories_are_read_as_it_reads_them(kind):
    """Importances add up to what it answers, for missing ones too."""
    frame, y = data()
    frame = frame[["size", "kind"]]
    named = frame["kind"].map("kind {:.0f}".format) if kind == "text" else frame["kind"].astype(int)
    frame = frame.assign(kind=pd.Categorical(named))
    model = XGBRegressor(n_estimators=10, n_jobs=1, enable_categorical=True).fit(frame, y)
    explainer = TabularExplainer(model, frame, nullable=True)
    rows = frame[:6].copy()
    rows.loc[[1, 3], "kind"] = None
    result = explainer.explain_local(rows)
    sums = np.sum(result.local_importance_values, axis=-1) + result.expected_values
    np.testing.assert_allclose(sums, model.predict(rows), rtol=0, atol=1e-4)


def test_the_guard_sees_what_no_example_has(monkeypatch):
    """Were codes not cut off, the examples would not tell: the rows that are made up do."""
    frame, y = data()
    model = LGBMRegressor(**LIGHT).fit(frame, y, categorical_feature=["kind", "place"])

    def whole_codes_only(x, n_codes):
        return code_of(np.where(x == np.floor(x), x, np.nan), n_codes)

    monkeypatch.setattr(kernels, "current", kernels.NumpyKernels())
    monkeypatch.setattr(splits, "code_of", whole_codes_only)
    explainer = TabularExplainer(model, frame)
    assert explainer.method == "kernel"
    core = explainer.row_explainer
    assert "differs from LGBMRegressor.predict" in core.note
    assert "on values that the examples lack" in core.note
