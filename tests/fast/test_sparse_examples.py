"""Sparse initialization examples that are too many to be dense: a sample is, and that is told."""

import pickle

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array, csr_matrix
from shapley_by_definition import shapley_by_definition
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.tree import DecisionTreeRegressor

from service.engines.sparse import examples as sparse_examples
from service.explainers import (
    LGBMExplainableModel,
    LinearExplainableModel,
    MimicExplainer,
    SGDExplainableModel,
    TabularExplainer,
)
from service.explainers.mimic.hybrids import make_hybrids
from service.scoring import KernelScoringExplainer

IS_SAMPLE = "ignore:The importances of engine:UserWarning"
N, WIDTH, KEPT = 260, 6, 80
GENERATOR = np.random.default_rng(0)
DENSE = np.where(GENERATOR.random((N, WIDTH)) < 0.3, GENERATOR.normal(1.0, 1.0, (N, WIDTH)), 0.0)
SPARSE = csr_array(DENSE)
Y = DENSE @ np.arange(1.0, 7.0)
BENT = Y + 2.0 * DENSE[:, 0] * DENSE[:, 1]


@pytest.fixture(autouse=True)
def few_cells(monkeypatch):
    """Let eighty rows be as many as are dense at once; return how many were."""
    monkeypatch.setattr(sparse_examples, "MOST_CELLS", KEPT * WIDTH)
    monkeypatch.setattr(sparse_examples, "BLOCK", 30 * WIDTH)
    made = []
    for kind in (csr_array, csr_matrix, coo_array):
        original = kind.toarray

        def record(self, *args, original=original, **kwargs):
            made.append(self.shape[0])
            return original(self, *args, **kwargs)

        monkeypatch.setattr(kind, "toarray", record)
    return made


def told(explainer):
    background = KernelScoringExplainer(explainer).to_dict()["background"]
    return background["kind"], background["n_rows"], background["n_examples"]


@pytest.mark.parametrize("form", [csr_array, csr_matrix, coo_array])
def test_a_linear_model_meets_all_of_them(form, few_cells):
    """Its closed form on the mean of all, though never all are dense."""
    model = LinearRegression().fit(DENSE, Y + np.sin(DENSE[:, 0]))
    explainer = TabularExplainer(model, form(SPARSE))
    found = explainer.explain_local(DENSE[:9]).local_importance_values
    expected = model.coef_ * (DENSE[:9] - DENSE.mean(axis=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert told(explainer) == ("whole", N, N)
    assert max(few_cells) <= KEPT


def test_trees_meet_a_sample_and_say_so(few_cells):
    """Exact on it, by the definition; the error that it leaves is told."""
    model = DecisionTreeRegressor(max_depth=4, random_state=0).fit(DENSE, BENT)
    with pytest.warns(UserWarning, match="off by about .*background: sample, 80 of 260 rows"):
        explainer = TabularExplainer(model, SPARSE)
    drawn, _ = sparse_examples.cut_sparse(SPARSE, 0)
    background = drawn.todense()
    assert background.shape == (KEPT, WIDTH)
    assert {tuple(row) for row in background} <= {tuple(row) for row in DENSE}
    np.testing.assert_array_equal(background[0], DENSE[0])
    expected = shapley_by_definition(
        lambda rows: model.predict(rows)[:, None], DENSE[3], background, np.ones(KEPT)
    )
    found = explainer.explain_local(SPARSE[3:4]).local_importance_values
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    scoring = KernelScoringExplainer(explainer)
    assert told(explainer) == ("sample", KEPT, N)
    assert scoring.exactness == "exact on a sampled background"
    assert 0 < scoring.to_dict()["background"]["relative_error"] < 0.3
    assert max(few_cells) <= KEPT


@pytest.mark.parametrize("output", ["raw", "scaled"])
def test_trees_that_look_at_few_columns_meet_all_of_them(output, few_cells):
    """All examples are dense in these columns alone; as the definition has it on all of them."""
    target = DENSE[:, 1] * 3.0
    model = DecisionTreeRegressor(max_depth=3, random_state=0)
    if output == "scaled":
        model = make_pipeline(MaxAbsScaler(), model)
    model.fit(DENSE, target)
    explainer = TabularExplainer(model, SPARSE)
    assert told(explainer) == ("whole", N, N)
    assert max(few_cells) <= KEPT
    expected = shapley_by_definition(
        lambda rows: model.predict(rows)[:, None], DENSE[3], DENSE, np.ones(N)
    )
    for rows in (SPARSE[3:4], DENSE[3:4]):
        found = explainer.explain_local(rows).local_importance_values
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert np.count_nonzero(expected) == 1
    scoring = pickle.loads(pickle.dumps(KernelScoringExplainer(explainer)))
    np.testing.assert_array_equal(scoring.explain(SPARSE[3:4]), found)


def test_trees_that_look_at_more_columns_meet_more_than_are_dense(few_cells):
    """A larger sample, in the columns at which they look; exact on it."""
    model = DecisionTreeRegressor(max_depth=3, random_state=0).fit(
        DENSE, DENSE[:, 1] * 3.0 + DENSE[:, 4]
    )
    explainer = TabularExplainer(model, SPARSE)
    assert told(explainer) == ("sample", KEPT * WIDTH // 2, N)
    local = explainer.explain_local(SPARSE[:5])
    sums = np.sum(local.local_importance_values, axis=1) + local.expected_values
    np.testing.assert_allclose(sums, model.predict(DENSE[:5]), rtol=0, atol=1e-9)
    exact = TabularExplainer(model, DENSE).explain_local(DENSE[:5])
    off = np.abs(np.subtract(local.local_importance_values, exact.local_importance_values))
    assert off.max() < 4 * np.max(local.standard_errors)


@pytest.mark.filterwarnings(IS_SAMPLE)
@pytest.mark.parametrize("engine", ["auto", "kernel"])
def test_what_calls_its_model_meets_a_sample_and_says_so(engine, few_cells):
    """A function, and the probability of a linear classifier, sampled behind its link."""
    linear = LogisticRegression().fit(DENSE, Y > 5)
    explainer = TabularExplainer(linear, SPARSE, output="probability", engine=engine)
    assert told(explainer)[::2] == ("sample", N)
    assert max(few_cells) <= KEPT
    local = explainer.explain_local(SPARSE[:2])
    sums = np.sum(local.local_importance_values, axis=2).T + local.expected_values
    np.testing.assert_allclose(sums, linear.predict_proba(DENSE[:2]), rtol=0, atol=1e-9)


def test_a_scoring_explainer_may_meet_them(few_cells):
    """Other examples than those with which the explainer was built."""
    model = LinearRegression().fit(DENSE, Y)
    scoring = KernelScoringExplainer(TabularExplainer(model, DENSE[:5]), SPARSE)
    expected = model.coef_ * (DENSE[:3] - DENSE.mean(axis=0))
    np.testing.assert_allclose(scoring.explain(DENSE[:3]), expected, rtol=0, atol=1e-12)
    assert max(few_cells) <= KEPT


def test_transformations_of_sparse_rows_are_tried_on_some(few_cells):
    """The raw rows are not made dense for that, nor for the engineered columns."""
    scaler = MaxAbsScaler().fit(SPARSE)
    model = LinearRegression().fit(scaler.transform(DENSE), Y)
    explainer = TabularExplainer(model, SPARSE, transformations=scaler)
    expected = model.coef_ / scaler.scale_ * (DENSE[:3] - DENSE.mean(axis=0))
    local = explainer.explain_local(DENSE[:3], engineered=True)
    np.testing.assert_allclose(local.local_importance_values, expected, rtol=0, atol=1e-12)
    assert np.shape(local.engineered.local_importance_values) == (3, WIDTH)
    assert max(few_cells) <= KEPT


@pytest.mark.filterwarnings(IS_SAMPLE)
def test_what_some_example_lacks_may_lack_in_a_row():
    """Though none of the sample lacks it."""
    rows = DENSE.copy()
    outside = sorted(set(map(tuple, DENSE)) - set(map(tuple, sampled_rows())))
    at = np.flatnonzero(np.all(np.array(outside[0]) == DENSE, axis=1))[0]
    rows[at, 2] = np.nan
    model = HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5).fit(rows, Y)
    explainer = TabularExplainer(model, csr_array(rows))
    column = explainer.row_explainer.schema.columns[2]
    assert column.nullable
    assert np.isfinite(explainer.explain_local(rows[[at]]).local_importance_values).all()


def sampled_rows():
    return sparse_examples.cut_sparse(SPARSE, 0)[0].todense()


@pytest.mark.filterwarnings("ignore:MimicExplainer:UserWarning")
@pytest.mark.parametrize("kind", [LinearExplainableModel, SGDExplainableModel])
def test_a_linear_surrogate_is_fitted_on_all_of_them(kind, few_cells):
    """A linear teacher comes out on all examples, exactly so by least squares."""
    model = LinearRegression().fit(DENSE, Y)
    explainer = MimicExplainer(model, SPARSE, kind, max_num_of_augmentations=1)
    found = explainer.explain_local(DENSE[:5]).local_importance_values
    expected = model.coef_ * (DENSE[:5] - DENSE.mean(axis=0))
    allowed = {LinearExplainableModel: 1e-8, SGDExplainableModel: 0.1}[kind]
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)
    assert explainer.fidelity["rows"] == N
    assert explainer.fidelity["r2_hybrids"] > 0.99
    assert told(explainer) == ("whole", N, N)
    overall = explainer.explain_global()
    spread = np.abs(model.coef_ * (DENSE - DENSE.mean(axis=0))).mean(axis=0)
    np.testing.assert_allclose(overall.global_importance_values, spread, rtol=0, atol=allowed)
    assert explainer.get_surrogate_model_replication_measure(SPARSE) > 0.99
    assert max(few_cells) <= KEPT


@pytest.mark.filterwarnings("ignore:MimicExplainer:UserWarning", IS_SAMPLE)
def test_boosted_trees_are_fitted_on_all_of_them(few_cells):
    """What is missing is no hindrance; importances add up to the surrogate."""
    rows = DENSE.copy()
    rows[5, 0] = np.nan
    model = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=5).fit(rows, BENT)
    explainer = MimicExplainer(
        model,
        csr_array(rows),
        LGBMExplainableModel,
        explainable_model_args={"n_estimators": 8},
        max_num_of_augmentations=1,
    )
    assert explainer.fidelity["rows"] == N
    assert told(explainer) == ("sample", KEPT, N)
    local = explainer.explain_local(csr_array(rows[:6]))
    sums = np.sum(local.local_importance_values, axis=1) + local.expected_values
    surrogate = explainer.surrogate_model.predict(rows[:6])
    np.testing.assert_allclose(sums, surrogate, rtol=0, atol=1e-9)
    assert max(few_cells) <= KEPT
    with pytest.raises(ValueError, match="LinearExplainableModel: expected 260 sparse examples"):
        MimicExplainer(model, csr_array(rows), LinearExplainableModel)


def test_categories_of_sparse_examples_are_refused():
    """With what to do: they would have to be dense."""
    with pytest.raises(ValueError, match=r"^categorical_features: expected none of 260 sparse ex"):
        MimicExplainer(
            LinearRegression().fit(DENSE, Y),
            SPARSE,
            LinearExplainableModel,
            categorical_features=[0],
        )


def test_sparse_hybrids_take_each_cell_from_one_of_two_rows():
    """Every share of a row equally often, as dense ones; a cell that both store from one."""
    rows = np.repeat([[1.0], [2.0]], 9, axis=1)
    mixed = make_hybrids(csr_array(rows), 8_000, np.random.default_rng(0)).todense()
    assert set(np.unique(mixed)) == {1.0, 2.0}
    sizes = np.bincount((mixed == 2).sum(axis=1), minlength=10)[1:-1]
    assert sizes.min() > 0.75 * sizes.max()
    with_zeros = make_hybrids(SPARSE, 300, np.random.default_rng(1)).todense()
    for column, own in zip(with_zeros.T, DENSE.T, strict=True):
        assert set(column) <= set(own)
