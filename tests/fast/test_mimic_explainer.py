import os
import pickle
import pty
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from identifiers import written
from scipy.sparse import csr_matrix
from shapley_by_definition import shapley_by_definition
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR

from service.errors import ModelOutputError
from service.explainers import (
    DecisionTreeExplainableModel,
    LGBMExplainableModel,
    LinearExplainableModel,
    MimicExplainer,
    SGDExplainableModel,
    TabularExplainer,
)
from service.explainers.mimic.fidelity import Followed
from service.explainers.mimic.hybrids import make_hybrids
from service.explainers.mimic.screening import screen_columns
from service.scoring import KernelScoringExplainer, ScoringModel, SelfCheckError, load, save

pytestmark = pytest.mark.filterwarnings("ignore:MimicExplainer:UserWarning")
KINDS = [
    LGBMExplainableModel,
    LinearExplainableModel,
    SGDExplainableModel,
    DecisionTreeExplainableModel,
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4))
BENT = X[:, 0] * X[:, 1] + X[:, 2]
IRIS, SPECIES = load_iris(return_X_y=True, as_frame=True)
SMALL = {LGBMExplainableModel: {"n_estimators": 8, "num_leaves": 4}}


def mimic(model, rows, kind, **options):
    options.setdefault("explainable_model_args", SMALL.get(kind))
    options.setdefault("max_num_of_augmentations", 2)
    return MimicExplainer(model, rows, kind, **options)


def teachers():
    """A regression, a binary margin, margins of several classes, probabilities, functions."""
    binary = BENT > 0
    several = np.digitize(BENT, [-0.7, 0.7])
    forest = RandomForestClassifier(10, random_state=0).fit(X, several)
    return {
        "regression": SVR().fit(X, BENT),
        "binary": SVC().fit(X, binary),
        "several": SVC(decision_function_shape="ovr").fit(X, several),
        "probability": forest,
        "texts": SVC().fit(X, np.array(["no", "yes"])[binary.astype(int)]),
        "function": lambda rows: np.asarray(rows)[:, 0] ** 2,
        "columns": forest.predict_proba,
    }


TEACHERS = teachers()


def frame_of_kinds(n=80):
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "town": rng.choice(["Bern", "Chur", "Genf"], n),
            "class": pd.Categorical(rng.choice(["x", "y"], n)),
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 10, n)),
            "code": rng.integers(0, 4, n),
        }
    )


def ask_frame(rows):
    """A function of categories and numbers, some of which are missing."""
    towns = rows["town"].map({"Bern": 3.0, "Chur": 0.0, "Genf": -1.0}).astype(float).fillna(9.0)
    codes = rows["code"].astype(int).map({0: 0.0, 1: 4.0, 2: 0.0, 3: 4.0})
    return (towns + (rows["class"] == "x") + rows["age"].fillna(0) / 20 + codes).to_numpy()


def ask_dates(rows):
    """A function that rises with time; without a date it has the middle."""
    when = pd.to_datetime(rows["when"], utc=True) - pd.Timestamp("2020-01-01", tz="UTC")
    return (when / pd.Timedelta(days=10)).fillna(15.0).to_numpy() + rows["age"].to_numpy() / 7


def ask_first_days(rows):
    return (rows["when"].dt.day != 2).to_numpy(float)


@every_kind
@pytest.mark.parametrize("name", TEACHERS)
def test_importances_add_up_to_the_surrogate(kind, name):
    """For every class, in the unit and with the classes of TabularExplainer."""
    model = TEACHERS[name]
    explainer = mimic(model, X, kind)
    exact = TabularExplainer(model, X[:20], engine="auto", surrogate=False)
    local = explainer.explain_local(X[:5])
    assert (local.output, local.classes) == (exact.output, exact.classes)
    assert local.method in ("mimic/tree", "mimic/linear")
    found = np.array(local.local_importance_values).sum(axis=-1).T + local.expected_values
    followed = explainer.row_explainer.explained(X[:5])
    np.testing.assert_allclose(np.squeeze(followed), found, rtol=0, atol=1e-9)
    assert local.fidelity == explainer.fidelity
    assert explainer.fidelity["rows"] == len(X)
    assert (explainer.fidelity["agreement"] is None) is (explainer.classes is None)


@pytest.mark.parametrize("kind", [LGBMExplainableModel, DecisionTreeExplainableModel])
def test_importances_are_those_of_the_definition(kind):
    """Enumerated over all coalitions of the surrogate, on all examples."""
    explainer = mimic(TEACHERS["regression"], X, kind)
    surrogate = explainer.row_explainer.explained
    expected = shapley_by_definition(surrogate, X[3], X, np.ones(len(X)))
    found = explainer.explain_local(X[3:4]).local_importance_values
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("task", ["regression", "margin"])
def test_a_linear_teacher_with_a_linear_surrogate_comes_out_exact(task):
    """The margin is fitted, and not a probability's logarithm that is cut."""
    if task == "regression":
        model = LinearRegression().fit(X, BENT)
    else:
        model = LogisticRegression(C=1e6).fit(X, X[:, 0] > 0)
    explainer = MimicExplainer(model, X, LinearExplainableModel)
    exact = TabularExplainer(model, X).explain_local(X[:6])
    found = explainer.explain_local(X[:6])
    scale = np.abs(exact.local_importance_values).max()
    np.testing.assert_allclose(
        found.local_importance_values, exact.local_importance_values, rtol=0, atol=1e-9 * scale
    )
    np.testing.assert_allclose(found.expected_values, exact.expected_values, atol=1e-9 * scale)
    assert explainer.num_of_augmentations == 0
    assert explainer.fidelity["r2"] == pytest.approx(1.0)
    assert explainer.fidelity["r2_hybrids"] == pytest.approx(1.0)


def test_augmentation_brings_the_importances_of_an_rbf_machine_near():
    """Breast cancer: within 0.45 relative RMS of the exact ones, and the fidelity on hybrids says
    which surrogate is near where that on real rows does not.
    """
    rows, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    rows, unseen, labels, _ = train_test_split(rows, labels, train_size=455, random_state=0)
    unseen = unseen[:20]
    model = make_pipeline(StandardScaler(), SVC()).fit(rows, labels)
    exact = np.array(TabularExplainer(model, rows).explain_local(unseen).local_importance_values)
    far, near = (
        MimicExplainer(model, rows, LGBMExplainableModel, augment_data=augment)
        for augment in (False, True)
    )
    off = []
    for explainer in (far, near):
        found = np.array(explainer.explain_local(unseen).local_importance_values)
        off.append(np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean()))
    assert off[0] > 0.8
    assert off[1] < 0.45
    assert far.fidelity["r2"] > 0.9 > far.fidelity["r2_hybrids"]
    assert near.fidelity["r2_hybrids"] > 0.94
    assert far.num_of_augmentations == 0 < near.num_of_augmentations <= 10


@pytest.mark.filterwarnings("default:MimicExplainer:UserWarning")
def test_a_surrogate_that_does_not_follow_says_so():
    """With the number, of the line that makes the explainer; one that follows is silent."""
    follows = r"LinearExplainableModel follows the model with R² 0\.\d"
    with pytest.warns(UserWarning, match=follows) as warned:
        MimicExplainer(TEACHERS["regression"], X, LinearExplainableModel)
    assert warned[0].filename == __file__


@every_kind
def test_rows_and_columns_of_what_is_fitted_are_closed(kind, monkeypatch):
    """At most (1 + max)·n rows, n without augmentation; values stay in their columns."""
    fitted = []
    original = kind.fit

    def record(self, rows, outputs, categories):
        fitted.append(rows)
        return original(self, rows, outputs, categories)

    monkeypatch.setattr(kind, "fit", record)
    frame = frame_of_kinds()
    mimic(ask_frame, frame, kind, max_num_of_augmentations=3, categorical_features=["code"])
    assert max(map(len, fitted)) <= 4 * len(frame)
    for rows in fitted:
        for column, own in zip(rows.T, frame, strict=True):
            known = set(frame[own].dropna())
            assert set(column[~pd.isna(column)].tolist()) <= known
    fitted.clear()
    mimic(ask_frame, frame, kind, augment_data=False)
    assert len(fitted[0]) == len(frame)
    assert max(map(len, fitted)) == len(frame)


@pytest.mark.parametrize("seed", range(6))
def test_more_hybrids_are_not_given_up_by_chance(seed):
    """With few rows some stage is no better than the last; the next ones are tried all the same."""
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 3)), columns=list("abc"))
    labels = np.where(rows["a"] + rows["b"] ** 2 > 0.5, "yes", "no")
    model = RandomForestClassifier(10, random_state=0).fit(rows, labels)
    explainer = MimicExplainer(model, rows, DecisionTreeExplainableModel, random_state=seed)
    exact = np.array(TabularExplainer(model, rows).explain_local(rows).local_importance_values)
    found = np.array(explainer.explain_local(rows).local_importance_values)
    assert np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean()) < 0.2
    assert explainer.num_of_augmentations >= 8
    assert explainer.fidelity["r2_hybrids"] > 0.94


@pytest.mark.filterwarnings("default:MimicExplainer:UserWarning")
@pytest.mark.parametrize(
    ("kind", "options", "advice"),
    [
        (DecisionTreeExplainableModel, {"augment_data": False}, "Let hybrids be fitted .augment_"),
        (
            DecisionTreeExplainableModel,
            {"max_num_of_augmentations": 0},
            "Let hybrids be fitted .augment_data",
        ),
        (
            LinearExplainableModel,
            {"max_num_of_augmentations": 10},
            "it was fitted on are followed with R² 0.[0-8].*more of them do not help: take another",
        ),
        (LinearExplainableModel, {"augment_data": False}, "more of them do not help: take another"),
    ],
    ids=["none", "no-blocks", "bent", "bent-none"],
)
def test_a_warning_advises_what_was_not_tried(kind, options, advice, monkeypatch):
    """Not more of what cannot help; and as many as there may be were fitted before."""
    fitted = []
    original = kind.fit

    def record(self, rows, outputs, categories):
        fitted.append(len(rows))
        return original(self, rows, outputs, categories)

    monkeypatch.setattr(kind, "fit", record)
    with pytest.warns(UserWarning, match=advice):
        MimicExplainer(lambda rows: rows[:, 0] * rows[:, 1], X, kind, **options)
    most = options.get("max_num_of_augmentations", 0)
    assert max(fitted) == (1 + most) * len(X)


@pytest.mark.filterwarnings("default:MimicExplainer:UserWarning")
def test_a_warning_advises_more_hybrids_where_the_most_are_the_best():
    """There the maximum is what holds the surrogate back."""
    with pytest.warns(UserWarning, match="Let max_num_of_augmentations be more than 1, or take"):
        MimicExplainer(
            TEACHERS["regression"], X, DecisionTreeExplainableModel, max_num_of_augmentations=1
        )


@every_kind
@pytest.mark.parametrize("missing", [False, True])
def test_a_level_without_examples_is_the_most_ordinary_one(kind, missing):
    """That whose rows are answered nearest to the average, not where a split leaves it over."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.normal(size=90), "z": rng.choice(list("pqrst"), 90)})
    frame["other"] = rng.choice([1, 7], 90)
    if missing:
        frame.loc[:8, "z"] = None
    worth = {"p": 9.0, "q": 1.0, "r": 0.0, "s": -1.0, "t": -9.0}

    def ask(rows):
        return (rows["x"] + rows["z"].map(worth).fillna(5.0)).to_numpy()

    explainer = mimic(ask, frame, kind, categorical_features=["other"])
    row = frame.iloc[20:21]
    new = explainer.explain_local(row.assign(z="new")).local_importance_values
    known = {z: explainer.explain_local(row.assign(z=z)).local_importance_values for z in worth}
    average = ask(frame).mean()
    ordinary = min(worth, key=lambda z: abs(ask(frame[frame["z"] == z]).mean() - average))
    assert new == known[ordinary]
    assert abs(new[0][1]) < 2.5
    assert known["p"][0][1] > new[0][1] > known["t"][0][1]


@pytest.mark.parametrize("values", ["probability", "teacher_probability"])
def test_a_function_of_probabilities_is_taken_as_its_model_is(values):
    """The same surrogate, and the same residuals; what are no shares of 1 is refused."""
    forest, options = TEACHERS["probability"], {"shap_values_output": values}
    model, function = (
        mimic(teacher, X, DecisionTreeExplainableModel, **options).explain_local(X[:4])
        for teacher in (forest, forest.predict_proba)
    )
    assert function.local_importance_values == model.local_importance_values
    assert hasattr(function, "residuals") is (values == "teacher_probability")
    machine = TEACHERS["several"]
    for teacher in (machine, machine.decision_function, lambda rows: rows[:, 0]):
        with pytest.raises(ValueError, match=r"^shap_values_output: expected 'default' of .*prob"):
            mimic(teacher, X, DecisionTreeExplainableModel, **options)
    with pytest.raises(ValueError, match=r"^output, with shap_values_output=.*got 'margin'"):
        mimic(forest, X, DecisionTreeExplainableModel, output="margin", **options)


def test_hybrids_take_every_share_of_a_row():
    """Coalitions of all sizes, about equally often."""
    rows = np.repeat([[0.0], [1.0]], 9, axis=1)
    sizes = make_hybrids(rows, 20_000, np.random.default_rng(0)).sum(axis=1)
    mixed = np.bincount(sizes.astype(int), minlength=10)[1:-1]
    assert mixed.min() > 0.8 * mixed.max()


@every_kind
def test_categories_and_missing_values(kind):
    """By dtype, name and position; a level that no example has is taken, and adds up."""
    frame = frame_of_kinds()
    explainer = mimic(
        ask_frame,
        frame,
        kind,
        categorical_features=["code"],
        explainable_model_args={"min_child_samples": 1} if kind is LGBMExplainableModel else None,
    )
    assert explainer.features == ["town", "class", "age", "code"]
    unseen = frame.iloc[:3].assign(town=["Basel", "Chur", "Genf"])
    local = explainer.explain_local(unseen)
    values = np.array(local.local_importance_values)
    assert values.shape == (3, 4)
    surrogate = explainer.row_explainer.explained(explainer.row_explainer.schema.matrix(unseen))
    sums = values.sum(axis=1) + local.expected_values
    np.testing.assert_allclose(sums, surrogate[:, 0], rtol=0, atol=1e-9)
    assert explainer.fidelity["r2_hybrids"] > 0.6
    by_position = mimic(ask_frame, frame, kind, categorical_features=[3])
    assert by_position.explain_local(frame[:2]).num_features == 4


@every_kind
@pytest.mark.parametrize("form", ["moments", "zones", "days", "gaps"])
def test_dates_are_numbers_of_days(kind, form, tmp_path):
    """More of them than LightGBM has categories for; one after all examples is no unknown level."""
    days = np.random.default_rng(3).permutation(300)
    when = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D"))
    if form == "zones":
        when = when.dt.tz_localize("Europe/Berlin")
    elif form == "days":
        when = when.dt.date.astype(object)
    elif form == "gaps":
        when[::9] = pd.NaT
    rows = pd.DataFrame({"when": when, "age": days[::-1] % 7})
    explainer = mimic(ask_dates, rows, kind)
    assert explainer.method in ("mimic/tree", "mimic/linear")
    assert explainer.fidelity["r2"] > 0.7
    latest = rows[4:5].assign(when=rows["when"].max())
    later = latest.assign(when=latest["when"] + pd.Timedelta(days=30))
    local = explainer.explain_local(later)
    known = explainer.explain_local(latest).local_importance_values[0][0]
    assert local.local_importance_values[0][0] >= known > 4.0
    scoring = KernelScoringExplainer(explainer)
    save(scoring, tmp_path / "models", original_model=ask_dates)
    served = ScoringModel.load(tmp_path / "models").score(
        later.to_json(orient="records", date_format="iso")
    )
    assert served["local_importance_values"] == local.local_importance_values


def test_dates_that_are_named_are_categories():
    """The first day of each month is asked for, which no number of days tells a linear model."""
    when = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(60) % 3, unit="D")
    rows = pd.DataFrame({"when": when})
    options = {"max_num_of_augmentations": 0}
    as_days = mimic(ask_first_days, rows, LinearExplainableModel, **options)
    named = mimic(
        ask_first_days, rows, LinearExplainableModel, categorical_features=["when"], **options
    )
    assert as_days.fidelity["r2_hybrids"] < 0.9
    assert named.fidelity["r2_hybrids"] == pytest.approx(1.0)


def test_codes_that_are_categories_are_told_apart():
    """A linear surrogate follows what jumps from code to code if it knows them as categories."""
    frame = frame_of_kinds()
    knowing = mimic(ask_frame, frame, LinearExplainableModel, categorical_features=["code"])
    assert knowing.fidelity["r2_hybrids"] > 0.99
    unknowing = mimic(ask_frame, frame, LinearExplainableModel)
    assert unknowing.fidelity["r2_hybrids"] < 0.95


@pytest.mark.parametrize("values", ["probability", "teacher_probability"])
def test_probabilities_and_residuals(values):
    """Expected value + Σ importances + residual = the teacher's own probability."""
    model = RandomForestClassifier(10, random_state=0).fit(IRIS, SPECIES)
    explainer = mimic(model, IRIS, DecisionTreeExplainableModel, shap_values_output=values)
    local = explainer.explain_local(IRIS[40:60])
    sums = np.array(local.local_importance_values).sum(axis=2) + np.c_[local.expected_values]
    assert local.output == "probability"
    if values == "probability":
        assert not hasattr(local, "residuals")
        return
    teacher = model.predict_proba(IRIS[40:60]).T
    np.testing.assert_allclose(sums + local.residuals, teacher, rtol=0, atol=1e-12)
    part = local[3:5]
    np.testing.assert_array_equal(part.residuals, np.array(local.residuals)[:, 3:5])


@pytest.mark.parametrize("kind", ["series", "array"])
def test_a_row_without_an_axis_of_rows_has_one_residual_for_each_class(kind):
    """Expected value + Σ importances + residual = the probability, without broadcasting."""
    model = RandomForestClassifier(10, random_state=0).fit(IRIS.to_numpy(), SPECIES)
    explainer = mimic(
        model, IRIS, DecisionTreeExplainableModel, shap_values_output="teacher_probability"
    )
    row = IRIS.iloc[70] if kind == "series" else IRIS.to_numpy()[70]
    local = explainer.explain_local(row)
    sums = np.sum(local.local_importance_values, axis=-1) + local.expected_values + local.residuals
    assert sums.shape == (3,)
    np.testing.assert_allclose(sums, local.eval_y_predicted_proba, rtol=0, atol=1e-12)
    assert local.eval_y_predicted == model.classes_[np.argmax(sums)]
    again = pickle.loads(pickle.dumps(local))
    assert (again.residuals, again.eval_y_predicted) == (local.residuals, local.eval_y_predicted)


def test_global_explanations_need_no_rows_and_forget_them():
    """Without rows the examples; with rows these, each time anew: mean magnitudes of the local."""
    explainer = mimic(TEACHERS["several"], X, DecisionTreeExplainableModel)
    own = explainer.explain_global()
    local = np.array(explainer.explain_local(X).local_importance_values)
    np.testing.assert_allclose(
        own.global_importance_values, np.abs(local).mean(axis=(0, 1)), rtol=0, atol=1e-12
    )
    few = explainer.explain_global(X[:5])
    assert few.num_examples == 5
    assert few.global_importance_values != own.global_importance_values
    assert explainer.explain_global(X[:5]).global_importance_values == few.global_importance_values
    assert max(own.global_importance_values) > 0.1


@every_kind
def test_it_is_repeatable_and_pickled_whole(kind):
    """The same seed gives the same bytes, also behind a pickle; the arguments stay as they were."""
    arguments = dict(SMALL.get(kind) or {})
    given = dict(arguments)
    first, second = (
        mimic(TEACHERS["binary"], X, kind, explainable_model_args=given) for _ in range(2)
    )
    third = pickle.loads(pickle.dumps(first))
    values = [e.explain_local(X[:4]).local_importance_values for e in (first, second, third)]
    assert values[0] == values[1] == values[2]
    assert first.fidelity == second.fidelity
    assert given == arguments


def test_labels_of_every_kind_and_a_class_that_is_never_predicted():
    """Texts and truth values name the classes; a constant output is nobody's merit."""
    names = mimic(TEACHERS["texts"], X, LinearExplainableModel)
    assert names.classes == ["no", "yes"]
    assert mimic(TEACHERS["binary"], X, LinearExplainableModel).classes == [False, True]

    def never(rows):
        share = 1 / (1 + np.exp(-np.asarray(rows)[:, 0]))
        return np.column_stack([share, 1 - share, 0 * share])

    local = mimic(never, X, LGBMExplainableModel).explain_local(X[:3])
    np.testing.assert_allclose(local.local_importance_values[2], 0.0, atol=1e-12)
    constant = mimic(DummyClassifier().fit(X, BENT > 0), X, DecisionTreeExplainableModel)
    assert constant.fidelity["r2_hybrids"] == 1.0
    assert np.abs(constant.explain_global().global_importance_values).max() == 0.0


@every_kind
@pytest.mark.parametrize("n_rows", [1, 2, 12, 40])
def test_few_rows_are_enough(kind, n_rows):
    """Fewer than fifty, down to one, of which nothing can be left out."""
    explainer = mimic(TEACHERS["regression"], X[:n_rows], kind)
    assert explainer.fidelity["rows"] == (n_rows if n_rows > 1 else 0)
    assert np.isfinite(explainer.explain_local(X[:2]).local_importance_values).all()


def test_very_wide_rows():
    """Forty thousand columns and fifty rows: trees are fitted on those that go most with the
    model's answers, and importances of all columns add up to the surrogate.
    """
    rows = np.random.default_rng(0).normal(size=(50, 40_000))
    with pytest.warns(UserWarning, match=r"fitted on 1,000 of 40,000 columns, those that go most"):
        explainer = mimic(
            lambda asked: 5 * asked[:, 7] + asked[:, 30_000] ** 2,
            rows,
            LGBMExplainableModel,
            max_num_of_augmentations=1,
        )
    assert explainer.fidelity["rows"] == 50
    local = explainer.explain_local(rows[:2])
    values = np.array(local.local_importance_values)
    assert values.shape == (2, 40_000)
    surrogate = explainer.row_explainer.explained(rows[:2])[:, 0]
    sums = values.sum(axis=1) + local.expected_values
    np.testing.assert_allclose(sums, surrogate, rtol=0, atol=1e-8)
    assert np.abs(values).sum(axis=0).argmax() == 7


@pytest.mark.parametrize("form", [np.array, csr_matrix])
def test_columns_are_screened_by_what_they_have_to_do_with_the_outputs(form):
    """Straight, or bent around their mean, for any of the outputs; missing values are no matter.

    As the correlations of numpy rank them.
    """
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 1_500)) * (rng.random((60, 1_500)) < 0.4)
    outputs = np.column_stack([rows[:, 3], 1e-9 * (rows[:, 1_400] - rows[:, 1_400].mean()) ** 2])
    rows[0, 9] = np.nan
    columns = np.flatnonzero(np.arange(1_500) % 50)
    kept = screen_columns(form(rows), outputs, columns)
    filled = pd.DataFrame(rows).fillna(pd.DataFrame(rows).mean()).to_numpy()
    bent = (filled - filled.mean(axis=0)) ** 2
    strengths = []
    for column in columns:
        table = np.corrcoef(np.column_stack([filled[:, column], bent[:, column], outputs]).T)
        strengths.append(np.abs(table[:2, 2:]).max())
    expected = columns[np.argsort(strengths)[-1_000:]]
    np.testing.assert_array_equal(kept, np.sort(expected))
    assert 3 in kept
    np.testing.assert_array_equal(screen_columns(form(rows), outputs, columns[:900]), columns[:900])


@every_kind
def test_importances_have_the_unit_of_the_model_whatever_it_is(kind):
    """A model that answers in other units has the same importances in these."""

    def ask(rows):
        return rows[:, 0] * rows[:, 1] + 3 * rows[:, 2] + 40

    explainers = {
        unit: mimic(lambda rows, unit=unit: unit * ask(rows), X, kind)
        for unit in (2.0**-40, 1.0, 2.0**40)
    }
    expected = explainers[1.0].explain_local(X[:5])
    assert np.abs(expected.local_importance_values).max() > 1
    for unit, explainer in explainers.items():
        found = explainer.explain_local(X[:5])
        np.testing.assert_allclose(
            np.array(found.local_importance_values) / unit,
            expected.local_importance_values,
            rtol=0,
            atol=1e-9,
        )
        assert found.expected_values / unit == pytest.approx(expected.expected_values, abs=1e-9)
        assert explainer.fidelity["r2_hybrids"] == pytest.approx(
            explainers[1.0].fidelity["r2_hybrids"], abs=1e-9
        )


@every_kind
@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_outputs_without_squares_are_refused(kind, unit):
    """In one sentence: a surrogate would be fitted to infinities, or to nothing."""
    with pytest.raises(
        ModelOutputError, match=r"outputs are 1e-140 to 1e[+]140 in size.*another unit"
    ):
        mimic(lambda rows: unit * rows[:, 0], X, kind)
    model = LinearRegression().fit(X, X[:, :2])
    model.coef_[1] *= unit
    model.intercept_[1] *= unit
    with pytest.raises(ModelOutputError, match="expected a model whose outputs are"):
        mimic(model, X, kind)
    assert mimic(lambda rows: 0.0 * rows[:, 0], X, kind).explain_global().expected_values == 0.0


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        (DecisionTreeExplainableModel, "min_impurity_decrease"),
        (DecisionTreeExplainableModel, "ccp_alpha"),
        (LGBMExplainableModel, "cegb_penalty_split"),
    ],
)
def test_an_argument_in_the_unit_of_the_model_keeps_its_meaning(kind, argument):
    """What a split must gain is of the answers as they are, as LightGBM and trees say it."""
    ask = TEACHERS["regression"].predict
    variance = float(ask(X).var())
    for gain, has_splits in ((2 * variance, False), (1e-6 * variance, True)):
        for unit in (1e-3, 1.0):
            explainer = mimic(
                lambda rows, unit=unit: unit * ask(rows),
                X,
                kind,
                explainable_model_args={argument: gain * unit**2},
            )
            assert any(explainer.explain_global().global_importance_values) is has_splits


@every_kind
def test_more_columns_than_rows_are_followed_or_warned_of(kind):
    """Steps of descent do not grow beyond all bounds, and importances add up to the surrogate."""
    rows = np.random.default_rng(0).normal(size=(50, 600))
    model = Ridge().fit(rows, 3 * rows[:, 0] + rows[:, 1])
    explainer = mimic(model, rows, kind, max_num_of_augmentations=1)
    assert explainer.fidelity["r2_hybrids"] > {SGDExplainableModel: 0.99}.get(kind, 0.0)
    local = explainer.explain_local(rows[:2])
    sums = np.sum(local.local_importance_values, axis=1) + local.expected_values
    surrogate = explainer.row_explainer.explained(rows[:2])[:, 0]
    np.testing.assert_allclose(sums, surrogate, rtol=0, atol=1e-9)


@every_kind
def test_sparse_rows(kind):
    """As dense ones; a decision tree refuses them by name."""
    rows = np.where(np.random.default_rng(0).random((60, 6)) < 0.3, 1.0, 0.0)
    model = LinearRegression().fit(rows, rows[:, 0])
    if kind is DecisionTreeExplainableModel:
        with pytest.raises(TypeError, match="DecisionTreeExplainableModel: expected dense rows"):
            mimic(model, csr_matrix(rows), kind)
        return
    dense = mimic(model, rows, kind).explain_local(rows[:3])
    sparse = mimic(model, csr_matrix(rows), kind).explain_local(csr_matrix(rows[:3]))
    assert dense.local_importance_values == sparse.local_importance_values


def test_the_replication_measure():
    """Accuracy of the likeliest class, or R², by scikit-learn's own functions."""
    explainer = mimic(TEACHERS["several"], X, LGBMExplainableModel)
    teacher = TEACHERS["several"].decision_function(X).argmax(axis=1)
    surrogate = explainer.row_explainer.explained(X).argmax(axis=1)
    share = float(np.mean(teacher == surrogate))
    assert explainer.get_surrogate_model_replication_measure(X) == share
    linear = mimic(TEACHERS["regression"], X, LinearExplainableModel)
    predicted = TEACHERS["regression"].predict(X)
    left = ((predicted - linear.row_explainer.explained(X)[:, 0]) ** 2).sum()
    r2 = 1 - left / ((predicted - predicted.mean()) ** 2).sum()
    assert linear.get_surrogate_model_replication_measure(X) == pytest.approx(r2, abs=1e-12)


def test_transformations_leave_raw_columns_as_players():
    """The surrogate is fitted on raw columns; engineered ones are TabularExplainer's."""
    frame = frame_of_kinds()[["town", "class"]]
    encoder = make_column_transformer((OneHotEncoder(), ["town", "class"]))
    y = (frame["town"] == "Bern") * 2.0 + (frame["class"] == "x")
    model = LinearRegression().fit(encoder.fit_transform(frame), y)
    explainer = mimic(model, frame, LinearExplainableModel, transformations=encoder)
    exact = TabularExplainer(model, frame, transformations=encoder).explain_local(frame[:4])
    local = explainer.explain_local(frame[:4])
    assert (local.features, local.is_raw) == (["town", "class"], True)
    np.testing.assert_allclose(
        local.local_importance_values, exact.local_importance_values, rtol=0, atol=1e-9
    )
    with pytest.raises(ValueError, match="fitted on raw columns"):
        explainer.explain_local(frame[:4], engineered=True)


@every_kind
def test_it_is_saved_and_served_without_its_teacher(kind, tmp_path):
    """Bit-equal after a round trip; the self-check knows the example's residual, and another model.

    The scoring process has no LightGBM.
    """
    rows = pd.DataFrame(X, columns=list("abcd"))
    model = SVC().fit(rows, BENT > 0)
    explainer = mimic(model, rows, kind)
    scoring = KernelScoringExplainer(explainer)
    assert b"sklearn.svm._classes\x94" not in pickle.dumps(scoring)
    path = save(scoring, tmp_path, exist_ok=True, original_model=model)
    loaded = load(tmp_path)
    values = loaded.explain_rows(rows[:5]).values
    local = explainer.explain_local(rows[:5]).local_importance_values
    np.testing.assert_array_equal(values, local)
    manifest = (tmp_path / "scoring_explainer.json").read_text()
    assert '"r2_hybrids"' in manifest
    assert '"example_residual"' in manifest
    assert loaded.method.startswith("mimic/")
    assert loaded.exactness == "exact, of a surrogate"
    ScoringModel(model, loaded).self_check()
    other = SVC(C=0.01).fit(rows, BENT > 0)
    with pytest.raises(SelfCheckError):
        ScoringModel(other, loaded).self_check()
    script = (
        "import sys; sys.modules['lightgbm'] = None\n"
        "from service.scoring import load\n"
        f"import numpy; numpy.save({str(tmp_path / 'there')!r}, load({str(path)!r})"
        f".explain([[*row] for row in {rows[:5].to_numpy().tolist()!r}]))\n"
    )
    if kind is LGBMExplainableModel:
        root = Path(__file__).parents[2]
        subprocess.run([sys.executable, "-c", script], cwd=root, check=True)
        np.testing.assert_array_equal(np.load(tmp_path / "there.npy"), values)


def test_it_may_meet_other_examples_when_it_scores():
    """The surrogate stays, the background is another one."""
    explainer = mimic(TEACHERS["regression"], X, DecisionTreeExplainableModel)
    scoring = KernelScoringExplainer(explainer, X[:20])
    surrogate = explainer.row_explainer.explained
    expected = shapley_by_definition(surrogate, X[50], X[:20], np.ones(20))
    np.testing.assert_allclose(scoring.explain(X[50:51]), expected, rtol=0, atol=1e-9)


def test_a_library_that_is_missing_is_named(monkeypatch):
    """With what to install, when the explainer is built."""
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ImportError, match="pip install lightgbm"):
        MimicExplainer(TEACHERS["regression"], X, LGBMExplainableModel)


@pytest.mark.parametrize(
    ("kind", "options", "error", "refusal"),
    [
        ("lightgbm", {}, TypeError, "one of the classes LGBMExplainableModel"),
        (
            LinearExplainableModel,
            {"explainable_model_args": {"depth": 3}},
            ValueError,
            "explainable_model_args: expected arguments of LinearExplainableModel, .* got depth",
        ),
        (LGBMExplainableModel, {"explainable_model_args": {"dpth": 3}}, ValueError, "got dpth"),
        (
            LGBMExplainableModel,
            {"explainable_model_args": {"num_leaves": -3}},
            ValueError,
            "expected arguments that LGBMExplainableModel can be .* got {'num_leaves': -3}, of whi",
        ),
        (
            DecisionTreeExplainableModel,
            {"explainable_model_args": {"max_depth": "deep"}},
            ValueError,
            "can be fitted with, got {'max_depth': 'deep'}, of which it says: The 'max_depth' para",
        ),
        (
            LinearExplainableModel,
            {"shap_values_output": "odds"},
            ValueError,
            "shap_values_output: expected one of default, probability, teacher_probability",
        ),
        (
            LinearExplainableModel,
            {"shap_values_output": "probability"},
            ValueError,
            "shap_values_output: expected 'default' of SVR.predict, which answers no probabilities",
        ),
        (
            LGBMExplainableModel(),
            {},
            TypeError,
            "got an instance of LGBMExplainableModel; pass the class itself, and its arguments as",
        ),
        (
            LinearExplainableModel,
            {"explainable_model_args": ["positive"]},
            TypeError,
            "explainable_model_args: expected a mapping of the regressor's arguments",
        ),
        (
            LinearExplainableModel,
            {"max_num_of_augmentations": -1},
            ValueError,
            "max_num_of_augmentations: expected a whole number",
        ),
        (
            LinearExplainableModel,
            {"augment_data": "no"},
            ValueError,
            "augment_data: expected True or False, got 'no'",
        ),
        (
            LinearExplainableModel,
            {"categorical_features": ["colour"]},
            ValueError,
            "categorical_features: expected different column names",
        ),
        (LinearExplainableModel, {"random_state": -1}, ValueError, "random_state: expected"),
    ],
    ids=written,
)
def test_what_cannot_be_is_refused(kind, options, error, refusal):
    """One sentence each."""
    with pytest.raises(error, match=refusal):
        MimicExplainer(TEACHERS["regression"], X, kind, **options)


@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e300])
def test_fidelity_knows_no_unit(unit):
    """It is scikit-learn's R² of answers of any size, whose squares may be no numbers any more."""
    teacher = np.random.default_rng(0).normal(size=(50, 1))
    surrogate = 0.5 * teacher
    followed = Followed(unit * teacher, unit * surrogate, "regression")
    assert followed.r2 == pytest.approx(r2_score(teacher, surrogate), rel=1e-12)


def test_targets_are_followed_each_in_its_own_unit_and_classes_together():
    """A large target does not hide that another is not followed at all."""
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(50, 3)) * [1e6, 1.0, 1e-6]
    surrogate = teacher + rng.normal(size=(50, 3)) * [1.0, 0.5, 1e-7]
    told = {"regression": "raw_values", "classification": "variance_weighted"}
    for task, averaging in told.items():
        expected = np.min(r2_score(teacher, surrogate, multioutput=averaging))
        assert Followed(teacher, surrogate, task).r2 == pytest.approx(expected, rel=1e-12)


def test_a_target_that_is_not_followed_is_warned_of_whatever_the_unit_of_others():
    """The measure is scikit-learn's R² of the target that is followed worst."""
    found = []
    for unit in (1.0, 2.0**20):
        model = KNeighborsRegressor(3).fit(X, np.column_stack([unit * X[:, 3], X[:, 0] * X[:, 1]]))
        with pytest.warns(UserWarning, match=r"follows the model with R² 0|R² -"):
            explainer = mimic(model, X, LinearExplainableModel)
        surrogate = explainer.row_explainer.explained(X)
        of_targets = r2_score(model.predict(X), surrogate, multioutput="raw_values")
        assert of_targets[0] > 0.5 > of_targets[1]
        measure = explainer.get_surrogate_model_replication_measure(X)
        assert measure == pytest.approx(of_targets[1], abs=1e-12)
        found.append(explainer.fidelity["r2_hybrids"])
    assert found[0] < 0.5
    assert found[1] == pytest.approx(found[0], abs=1e-9)


@pytest.mark.parametrize("kind", KINDS[1:], ids=lambda kind: kind.__name__)
def test_rows_that_a_surrogate_does_not_take_are_refused_in_one_sentence(kind):
    """Saying what its library says; boosted trees take infinities."""
    rows = np.where(np.arange(X.size).reshape(X.shape) == 5, np.inf, X)
    told = f"initialization_examples: expected rows that {kind.__name__} can .* infinity.* another"
    with pytest.raises(ValueError, match=told):
        mimic(lambda rows: rows[:, 0], rows, kind)
    assert mimic(lambda rows: rows[:, 0], rows, KINDS[0]).features == ["0", "1", "2", "3"]


def test_a_surrogate_without_memory_says_so(monkeypatch):
    """It is not told as a fault of the rows, which may be left as they are."""

    def take_all_memory(*_):
        raise MemoryError

    monkeypatch.setattr(KINDS[1], "fit", take_all_memory)
    with pytest.raises(MemoryError):
        mimic(lambda rows: rows[:, 0], X, KINDS[1])


@every_kind
def test_a_seed_may_be_any_whole_number(kind):
    """Those that libraries do not take are brought into their range."""
    explainers = [mimic(TEACHERS["function"], X, kind, random_state=2**40) for _ in range(2)]
    first, second = (explainer.explain_global() for explainer in explainers)
    assert first.global_importance_values == second.global_importance_values


def test_what_takes_long_says_on_a_terminal_what_it_is_at():
    """A model that is slow to ask may be asked for minutes; elsewhere nothing is written."""
    code = (
        "from service.explainers import DecisionTreeExplainableModel as kind, MimicExplainer\n"
        "MimicExplainer(lambda rows: rows[:, 0], [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]], kind)"
    )
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    os.set_blocking(reader, False)
    with os.fdopen(reader, "rb", buffering=0) as shown, os.fdopen(terminal, "wb") as stderr:
        subprocess.run([sys.executable, "-c", code], stderr=stderr, check=True)
        told = (shown.read(100_000) or b"").decode()
    assert "Imitating the model: examples" in told
