"""Models behind transformations, explained on raw rows, against the definition."""

import pickle
from itertools import cycle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from raw_spellings import (
    FRAME,
    MODELS,
    ROW,
    SPELLINGS,
    TARGET,
    by_definition,
    check_spelling,
    columns,
    filled,
    one_hot,
)
from shapley_by_definition import shapley_by_definition
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    LabelBinarizer,
    LabelEncoder,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from service.explainers import DataFrameMapper, TabularExplainer
from service.scoring import KernelScoringExplainer, PayloadError, load, save


@pytest.mark.filterwarnings("ignore:Bins whose width:UserWarning")
@pytest.mark.parametrize(("spelling", "kind"), list(zip(SPELLINGS, cycle(MODELS), strict=False)))
def test_every_spelling_is_explained_on_raw_columns_by_definition(spelling, kind):
    """Raw and engineered importances have the same sums, which are the model's.

    The sweep tries every kind of model with every spelling.
    """
    check_spelling(spelling, kind)


@pytest.mark.parametrize("spelling", ["names", "drop first", "union", "steps", "nested"])
def test_transformers_that_are_known_are_looked_through(spelling):
    """A linear model behind them is explained in closed form, and not called."""
    transformer = SPELLINGS[spelling].fit(FRAME, TARGET)
    model = Ridge().fit(transformer.transform(FRAME), TARGET)
    assert TabularExplainer(model, FRAME, transformations=transformer).method == "linear"


def parts():
    return [
        (["town"], OneHotEncoder(handle_unknown="ignore").fit(FRAME[["town"]])),
        (["age", "income"], filled().fit(FRAME[["age", "income"]])),
        (["rooms"], None),
    ]


def as_mapper(features, **options):
    """What sklearn-pandas' DataFrameMapper looks like from outside."""
    return SimpleNamespace(features=features, transform=None, **options)


def test_the_mapper_fits_what_is_listed_in_place():
    """The same list is taken by an explainer, and the whole pipeline is a model of raw rows."""
    listed = [
        (["town"], OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        (["age", "income"], [SimpleImputer(), StandardScaler()], {"alias": "numbers"}),
        ("rooms", None),
    ]
    whole = make_pipeline(DataFrameMapper(listed), Ridge()).fit(FRAME, TARGET)
    by_hand = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["town"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
        ("passthrough", ["rooms"]),
    )
    np.testing.assert_array_equal(whole[0].transform(FRAME), by_hand.fit_transform(FRAME))
    for transformations in (listed, whole[0]):
        explainer = TabularExplainer(whole[-1], FRAME, transformations=transformations)
        local = explainer.explain_local(FRAME[:3])
        assert local.features == list(FRAME.columns)
        sums = np.sum(local.local_importance_values, axis=1) + local.expected_values
        np.testing.assert_allclose(sums, whole.predict(FRAME[:3]), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="expected columns of the initialization examples, got"):
        DataFrameMapper([(["colour"], StandardScaler())]).fit(FRAME)
    with pytest.raises(NotFittedError, match="This DataFrameMapper instance is not fitted yet"):
        DataFrameMapper(listed).transform(FRAME)
    with pytest.raises(ValueError, match=r"expected a fitted trans.* got str 'age' in the list"):
        DataFrameMapper(["age"]).fit(FRAME)


def test_the_mapper_fits_what_is_made_for_labels():
    """LabelBinarizer and LabelEncoder take nothing beside a column with one axis."""
    listed = [("town", [LabelBinarizer()]), ("town", LabelEncoder()), (["rooms"], None)]
    made = DataFrameMapper(listed).fit_transform(FRAME, TARGET)
    expected = LabelBinarizer().fit_transform(FRAME["town"])
    np.testing.assert_array_equal(made[:, : expected.shape[1]], expected)
    np.testing.assert_array_equal(made[:, -2], LabelEncoder().fit_transform(FRAME["town"]))


@pytest.mark.parametrize("name", ["default", "sparse", "df_out", "input_df"])
def test_the_mapper_refuses_what_only_sklearn_pandas_does(name):
    """By name and with what to do; False is taken, as it is the default there, and cloned."""
    with pytest.raises(ValueError, match=f"DataFrameMapper: {name}: expected False, got None; "):
        DataFrameMapper([("rooms", None)], **{name: None})
    mapper = clone(DataFrameMapper([("rooms", None)], **{name: False}))
    assert mapper.fit_transform(FRAME).tolist() == FRAME[["rooms"]].to_numpy().tolist()


def on_arrays():
    """Parts that were fitted as sklearn-pandas fits them."""
    imputer, scaler = filled().fit(FRAME[["age", "income"]].to_numpy()).named_steps.values()
    return [
        (["town"], OneHotEncoder(handle_unknown="ignore").fit(FRAME[["town"]].to_numpy())),
        (["age", "income"], [imputer, scaler], {"alias": "numbers"}),
        ("rooms", None),
    ]


@pytest.fixture(scope="module", params=MODELS)
def behind_columns(request):
    """A model behind a ColumnTransformer, explained."""
    joined = columns(
        (OneHotEncoder(handle_unknown="ignore"), ["town"]),
        (filled(), ["age", "income"]),
        ("passthrough", ["rooms"]),
        verbose_feature_names_out=False,
    ).fit(FRAME)
    model = MODELS[request.param].fit(joined.transform(FRAME), TARGET)
    explainer = TabularExplainer(model, FRAME, transformations=joined)
    return SimpleNamespace(joined=joined, model=model, local=explainer.explain_local(FRAME[:3]))


@pytest.mark.parametrize(
    "listed",
    [
        parts(),
        tuple(parts()),
        on_arrays(),
        as_mapper(parts(), input_df=True),
        as_mapper(on_arrays()),
    ],
    ids=["list", "tuple", "on arrays", "mapper of frames", "mapper of arrays"],
)
def test_a_list_is_the_column_transformer_of_the_same_parts(listed, behind_columns):
    """Bit for bit, and with the names of the engineered columns."""
    expected = behind_columns.local
    explainer = TabularExplainer(behind_columns.model, FRAME, transformations=listed)
    local = explainer.explain_local(FRAME[:3], engineered=True)
    assert local.method == expected.method
    assert local.local_importance_values == expected.local_importance_values
    assert local.engineered.features == list(behind_columns.joined.get_feature_names_out())


def test_a_list_knows_sklearn_pandas_rule_for_one_column():
    """A name alone gives one axis: labels and texts are encoded from it; a list gives two."""
    listed = [
        ("town", LabelBinarizer().fit(FRAME["town"])),
        ("sex", LabelEncoder().fit(FRAME["sex"])),
        ("town", TfidfVectorizer().fit(FRAME["town"])),
        (["age"], StandardScaler().fit(FRAME[["age"]])),
    ]
    made = np.hstack(
        [
            listed[0][1].transform(FRAME["town"]),
            listed[1][1].transform(FRAME["sex"])[:, None],
            listed[2][1].transform(FRAME["town"]).toarray(),
            listed[3][1].transform(FRAME[["age"]]),
        ]
    )
    model = LinearRegression().fit(made, TARGET)
    explainer = TabularExplainer(model, FRAME, transformations=listed)
    assert explainer.method == "linear"
    local = explainer.explain_local(FRAME[:2])
    sums = local.expected_values + np.sum(local.local_importance_values, axis=1)
    np.testing.assert_allclose(sums, model.predict(made[:2]), rtol=0, atol=1e-9)


def test_a_mapper_keeps_or_drops_the_other_columns():
    """default=None keeps them, but for drop_cols; False, and no word of it, drops them."""
    rest = as_mapper(parts()[:1], input_df=True, default=None, drop_cols=["sex", "income"])
    made = columns((parts()[0][1], ["town"]), ("passthrough", ["age", "rooms"])).fit(FRAME)
    model = Ridge().fit(made.transform(FRAME), TARGET)
    local = TabularExplainer(model, FRAME, transformations=rest).explain_local(FRAME[:1])
    is_zero = np.array(local.local_importance_values[0]) == 0
    assert is_zero.tolist() == [False, True, False, True, False]


class Ratio(TransformerMixin, BaseEstimator):
    """A user's own transformer, which knows nothing of names and keeps nothing."""

    def fit(self, rows, y=None):
        return self

    def transform(self, rows):
        rows = np.asarray(rows, dtype=float)
        return rows[:, :1] / rows[:, 1:]


def test_a_transformer_of_the_users_own_is_called():
    """Alone or in a list; importances are those of the definition."""
    frame = FRAME[["age", "rooms"]]
    model = Ridge().fit(Ratio().transform(frame), TARGET)
    expected = by_definition(Ratio(), model, frame)
    for transformations in (Ratio(), [(["age", "rooms"], Ratio())]):
        explainer = TabularExplainer(
            model, frame, transformations=transformations, background="whole"
        )
        (values,) = explainer.explain_local(frame[ROW : ROW + 1]).local_importance_values
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "model", [Ridge(), KNeighborsRegressor(3, metric="chebyshev")], ids=["linear", "kernel"]
)
def test_a_column_that_reaches_no_transformer_is_listed_with_exactly_nothing(model):
    """Also where the model is called and values are sampled."""
    wide = pd.DataFrame(
        np.random.default_rng(0).normal(size=(200, 14)), columns=[f"c{i}" for i in range(14)]
    )
    scale = columns((StandardScaler(), [f"c{i}" for i in range(12)])).fit(wide)
    model.fit(scale.transform(wide), wide["c0"])
    explainer = TabularExplainer(model, wide, transformations=scale)
    values = np.array(explainer.explain_local(wide[:2]).local_importance_values)
    assert explainer.features == list(wide.columns)
    assert (values[:, 12:] == 0).all()
    assert (values[:, :12] != 0).all()
    scoring = pickle.loads(pickle.dumps(KernelScoringExplainer(explainer)))
    np.testing.assert_array_equal(scoring.explain(wide[:2]), values)


def test_raw_columns_are_renamed_and_reported_by_name():
    """`features=` and `explain_subset=` are of raw columns; the DataFrame's names stay without."""
    transformer = one_hot().fit(FRAME)
    model = Ridge().fit(transformer.transform(FRAME), TARGET)
    names = ["City", "Sex", "Age", "Income", "Rooms"]
    whole = TabularExplainer(model, FRAME, None, names, transformations=transformer)
    assert TabularExplainer(model, FRAME, transformations=transformer).features == list(FRAME)
    some = TabularExplainer(
        model,
        FRAME,
        ["Rooms", "City"],
        names,
        transformations=transformer,
        allow_all_transformations=True,
    )
    assert some.features == ["Rooms", "City"]
    expected = np.array(whole.explain_local(FRAME[:2]).local_importance_values)[:, [4, 0]]
    np.testing.assert_array_equal(some.explain_local(FRAME[:2]).local_importance_values, expected)


def test_examples_may_be_an_array():
    """With transformers of arrays and of frames, and lists of positions and of given names."""
    array = FRAME[["age", "rooms"]].to_numpy(dtype=float)
    frame = pd.DataFrame(array, columns=["Age", "Rooms"])
    of_array, of_frame = StandardScaler().fit(array), StandardScaler().fit(frame)
    model = Ridge().fit(of_array.transform(array), TARGET)
    expected = TabularExplainer(model, frame, transformations=of_frame).explain_local(frame[:2])
    names = ["Age", "Rooms"]
    for transformations in (of_array, of_frame, [([0, 1], of_array)], [(names, of_array)]):
        explainer = TabularExplainer(model, array, None, names, transformations=transformations)
        local = explainer.explain_local(array[:2])
        assert (local.method, local.features) == ("linear", names)
        np.testing.assert_allclose(
            local.local_importance_values, expected.local_importance_values, rtol=0, atol=1e-12
        )


def test_levels_that_training_did_not_have_are_explained():
    """Unknown, infrequent and missing ones, by the definition."""
    frame = FRAME.copy()
    frame.loc[::6, "town"] = None
    levels = OneHotEncoder(min_frequency=4, handle_unknown="infrequent_if_exist")
    transformer = columns((levels, ["town"]), (filled(), ["income"])).fit(frame)
    model = Ridge().fit(transformer.transform(frame), TARGET)
    explainer = TabularExplainer(model, frame, transformations=transformer)
    rows = frame.iloc[[0, 1, 2]].copy()
    rows.iloc[1, 0] = "Sion"
    local = explainer.explain_local(rows)
    assert local.method == "linear"
    for i in range(3):
        together = pd.concat([frame, rows.iloc[[i]]], ignore_index=True)
        matrix = together.to_numpy(dtype=object)

        def predict(hybrids):
            return model.predict(
                transformer.transform(pd.DataFrame(hybrids, columns=frame.columns))
            )

        weights = np.ones(len(frame))
        expected = shapley_by_definition(predict, matrix[-1], matrix[:-1], weights)[0]
        np.testing.assert_allclose(local.local_importance_values[i], expected, atol=1e-9)


def test_a_function_and_a_model_fitted_on_names_stand_behind_transformations():
    """A function of engineered rows; an estimator that wants the DataFrame it was fitted on."""
    transformer = one_hot(sparse_output=False).fit(FRAME)
    made = transformer.transform(FRAME)
    named = pd.DataFrame(made, columns=[f"x{i}" for i in range(made.shape[1])])
    model = Ridge().fit(named, TARGET)
    by_frame = TabularExplainer(model, FRAME, transformations=transformer)
    assert by_frame.method == "linear"
    by_function = TabularExplainer(
        lambda rows: rows @ model.coef_ + model.intercept_,
        FRAME,
        transformations=transformer,
        background="whole",
    )
    expected = by_frame.explain_local(FRAME[:2], engineered=True)
    values = by_function.explain_local(FRAME[:2]).local_importance_values
    np.testing.assert_allclose(values, expected.local_importance_values, rtol=0, atol=1e-9)
    assert expected.engineered.features == list(named.columns)


def test_a_model_that_takes_no_sparse_rows_gets_dense_ones_from_a_list():
    """A list says nothing of sparse rows; what the model was trained on is tried."""
    wide = pd.DataFrame({"town": [f"t{i % 12}" for i in range(60)], "age": np.arange(60.0)})
    listed = [
        (["town"], OneHotEncoder().fit(wide[["town"]])),
        (["age"], StandardScaler().fit(wide[["age"]])),
    ]
    made = np.hstack(
        [
            part.transform(wide[names])
            if names == ["age"]
            else part.transform(wide[names]).toarray()
            for names, part in listed
        ]
    )
    model = HistGradientBoostingRegressor(max_iter=3).fit(made, wide["age"])
    explainer = TabularExplainer(model, wide, transformations=listed)
    assert explainer.method == "tree"


def test_what_takes_a_table_is_no_name_without_brackets():
    """The other way of writing the columns is named, where that is what is wrong."""
    frame = pd.DataFrame({"age": np.arange(20.0), "text": ["some words", "other"] * 10})
    scaler = StandardScaler().fit(frame[["age"]])
    model = Ridge().fit(scaler.transform(frame[["age"]]), frame["age"])
    with pytest.raises(ValueError, match=r"StandardScaler to take 'age', .*write \['age'\] where"):
        TabularExplainer(model, frame, transformations=[("age", scaler)])
    with pytest.raises(ValueError, match=r"StandardScaler to take 0, .*write \[0\] where"):
        TabularExplainer(model, frame[["age"]].to_numpy(), transformations=[(0, scaler)])
    binarizer = LabelBinarizer().fit(frame["text"])
    listed = [(["age", "text"], binarizer)]
    with pytest.raises(ValueError, match=r"LabelBinarizer to take \['age', 'text'\], 2 axes"):
        TabularExplainer(model, frame, transformations=listed)


def test_a_subset_of_raw_columns_is_one_of_the_engineered_made_of_them():
    """The same numbers as of the whole, locally and behind a scoring explainer."""
    transformer = one_hot().fit(FRAME)
    model = Ridge().fit(transformer.transform(FRAME), TARGET)
    names = list(FRAME)
    subset = [names[1], names[0]]
    whole = TabularExplainer(model, FRAME, transformations=transformer)
    part = TabularExplainer(model, FRAME, subset, transformations=transformer)
    local = part.explain_local(FRAME[:3], engineered=True)
    every = whole.explain_local(FRAME[:3], engineered=True)
    made = every.engineered.to_frame()
    found = local.engineered.to_frame()
    assert 2 <= found.shape[1] < made.shape[1]
    np.testing.assert_array_equal(found, made[list(found)])
    summed = local.engineered.to_raw()
    assert summed.features == subset
    np.testing.assert_allclose(summed.to_frame(), every.to_frame()[subset], rtol=0, atol=1e-9)
    scoring = KernelScoringExplainer(part, engineered=True)
    scored = scoring.explain(FRAME[:3], get_raw=False)
    np.testing.assert_array_equal(scored, found)
    mixing = SPELLINGS["components"].fit(FRAME)
    model = Ridge().fit(mixing.transform(FRAME), TARGET)
    mixed = TabularExplainer(model, FRAME, subset, transformations=mixing)
    with pytest.raises(ValueError, match="explain_subset names raw columns, but they mix several"):
        mixed.explain_local(FRAME[:3], engineered=True)


def test_terms_of_several_columns_are_added_up_to_no_raw_column():
    """Products of columns, which a model is looked into behind, belong to none of them."""
    numbers = FRAME.select_dtypes("number").fillna(0.0)
    terms = PolynomialFeatures(2).fit(numbers)
    model = Ridge().fit(terms.transform(numbers), TARGET)
    explainer = TabularExplainer(model, numbers, transformations=terms)
    engineered = explainer.explain_local(numbers[:1], engineered=True).engineered
    assert len(engineered.features) == terms.n_output_features_
    with pytest.raises((AttributeError, ValueError), match="to_raw"):
        engineered.to_raw()


def test_engineered_importances_are_added_up_on_demand():
    """Locally, by the raw column of each; not where a step mixes columns."""
    transformer = one_hot().fit(FRAME)
    model = Ridge().fit(transformer.transform(FRAME), TARGET)
    explainer = TabularExplainer(model, FRAME, transformations=transformer)
    local = explainer.explain_local(FRAME[:3], engineered=True)
    assert local.is_raw
    assert not local.is_engineered
    assert local.engineered.is_engineered
    summed = local.engineered.to_raw()
    assert summed.features == list(FRAME)
    # Of an additive model the two agree.
    np.testing.assert_allclose(
        summed.local_importance_values, local.local_importance_values, rtol=0, atol=1e-9
    )
    mixing = SPELLINGS["components"].fit(FRAME)
    model = Ridge().fit(mixing.transform(FRAME), TARGET)
    explainer = TabularExplainer(model, FRAME, transformations=mixing)
    engineered = explainer.explain_local(FRAME[:1], engineered=True).engineered
    assert engineered.features == ["pca0", "pca1", "pca2"]
    with pytest.raises((AttributeError, ValueError), match="to_raw"):
        engineered.to_raw()


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(), KNeighborsClassifier(3, metric="chebyshev")],
    ids=["linear", "kernel"],
)
def test_the_scoring_explainer_takes_raw_rows(model, tmp_path):
    """Saved and loaded; raw by default, engineered where it was built with it; raw schema."""
    transformer = one_hot().fit(FRAME)
    model.fit(transformer.transform(FRAME), FRAME["rooms"] > 2)
    explainer = TabularExplainer(model, FRAME, transformations=transformer)
    local = explainer.explain_local(FRAME[:3], engineered=True)
    scoring = KernelScoringExplainer(explainer, engineered=True)
    whole = make_pipeline(transformer, model)
    with pytest.raises(ValueError, match="expected an original_model that takes raw rows"):
        save(scoring, tmp_path / "not", original_model=model)
    save(scoring, tmp_path / "raw", original_model=whole)
    loaded = load(tmp_path / "raw")
    assert loaded.explain(FRAME[:3]) == local.local_importance_values
    assert loaded.explain(FRAME[:3], get_raw=False) == local.engineered.local_importance_values
    assert [column["name"] for column in loaded.to_dict()["columns"]] == list(FRAME)
    plain = KernelScoringExplainer(explainer)
    with pytest.raises(ValueError, match=r"get_raw=False: expected .* engineered=True"):
        plain.explain(FRAME[:3], get_raw=False)
    n_made = transformer.transform(FRAME).shape[1]
    for ask in (explainer.explain_local, explainer.explain_global, loaded.explain):
        with pytest.raises(PayloadError, match=rf"raw rows of 5 columns, got {n_made} columns"):
            ask(transformer.transform(FRAME))


def fitted_transformer():
    return one_hot().fit(FRAME)


@pytest.mark.parametrize(
    ("transformations", "error", "reason"),
    [
        (one_hot(), ValueError, "ColumnTransformer is not fitted"),
        (make_pipeline(SimpleImputer(), PCA()), ValueError, "SimpleImputer is not fitted"),
        ([(["age"], StandardScaler())], ValueError, r"StandardScaler of \['age'\] is not fitted"),
        ([], ValueError, "got an empty list"),
        ([("scale", StandardScaler(), ["age"])], ValueError, "make a ColumnTransformer and fit"),
        ([(["size"], None)], ValueError, r"expected columns .* got \['size'\]; they have \['town'"),
        ([(["age"], 3)], ValueError, r"got int 3 for \['age'\]"),
        ("scale", TypeError, "expected a fitted transformer .* got str 'scale'"),
        (StandardScaler, TypeError, "expected a fitted transformer .* got type"),
        (
            StandardScaler().fit(FRAME[["age"]]),
            ValueError,
            "expected them to take the initialization examples, raw rows of 5 columns",
        ),
        (SPELLINGS["names"], ValueError, "of 5 raw columns they make 6; give the transformations"),
    ],
    ids=str,
)
def test_what_are_no_fitted_transformations_is_refused(transformations, error, reason):
    """By name, when the explainer is built."""
    if transformations is SPELLINGS["names"]:
        transformations.fit(FRAME)
    model = Ridge().fit(fitted_transformer().transform(FRAME), TARGET)
    with pytest.raises(error, match=reason):
        TabularExplainer(model, FRAME, transformations=transformations)


def test_a_model_with_its_transformations_inside_is_refused_behind_them():
    """The usual slip: the whole pipeline in place of its last step."""
    transformer = fitted_transformer()
    whole = make_pipeline(one_hot(), Ridge()).fit(FRAME, TARGET)
    with pytest.raises(ValueError, match="it takes raw rows itself, so leave the transformations"):
        TabularExplainer(whole, FRAME, transformations=transformer)
    with pytest.raises(ValueError, match="expected of an explainer with transformations"):
        TabularExplainer(whole, FRAME).explain_local(FRAME[:1], engineered=True)
    with pytest.raises(ValueError, match="of an explainer with transformations"):
        KernelScoringExplainer(TabularExplainer(whole, FRAME), engineered=True)


@pytest.mark.parametrize("is_list", [True, False])
def test_a_transformer_that_writes_into_its_rows_changes_nobodys(is_list):
    """Its answer is right, and the rows of who asks stay as they are."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(5, 3, (60, 3)), columns=list("abc"))
    before = rows.copy()
    scaler = StandardScaler(copy=False).fit(before.copy())
    scaled = (before - before.mean()) / before.std(ddof=0)
    model = LinearRegression().fit(scaled.to_numpy(), before["a"] + before["b"])
    transformations = [(["a", "b", "c"], scaler)] if is_list else scaler
    explainer = TabularExplainer(model, rows, transformations=transformations)
    values = np.array(explainer.explain_local(rows[:5]).local_importance_values)
    expected = (before - before.mean()).to_numpy()[:5] * [1, 1, 0]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)
    pd.testing.assert_frame_equal(rows, before)
