import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA, KernelPCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold, f_regression
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import Lasso, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.tree import DecisionTreeRegressor

from service.structures.encoders import Encoder, split_model

N_FITTED = 120
TEXTS = ["town", "sex", "grade"]


def table():
    """Return 160 rows with numbers, texts, categories, booleans and missing values."""
    rng = np.random.default_rng(0)
    n = N_FITTED + 40
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "town": rng.choice(
                ["Bern", "Basel", "Chur", "Genf", "Zug"], n, p=[0.4, 0.3, 0.24, 0.03, 0.03]
            ),
            "income": rng.lognormal(10, 1, n),
            "sex": rng.choice(["f", "m"], n),
            "height": rng.normal(170, 10, n),
            "grade": pd.Categorical(
                rng.choice(["low", "mid", "high"], n), categories=["low", "mid", "high"]
            ),
            "member": rng.random(n) < 0.5,
        }
    )
    frame.loc[rng.random(n) < 0.2, "income"] = np.nan
    frame.loc[rng.random(n) < 0.2, "height"] = np.nan
    frame.loc[rng.random(n) < 0.2, "grade"] = np.nan
    return frame


FRAME = table()
NUMBERS = FRAME[["age", "income", "height"]]
FULL = NUMBERS.fillna(100)
ARRAY = FULL.to_numpy()
GAPS = NUMBERS.to_numpy()
MIXED = FRAME[["town", "sex"]].to_numpy(dtype=object)
EMPTY = np.column_stack([GAPS[:, 1], np.full(len(GAPS), np.nan), GAPS[:, 0], GAPS[:, 2]])
UNSEEN = FRAME.assign(town=FRAME["town"].where(FRAME.index < N_FITTED + 5, "Sion"))


def text_encoder(**options):
    return make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(**options))


def columns(*blocks, **options):
    return make_column_transformer(*blocks, **options)


def usual():
    """Return the preprocessing that everybody writes."""
    return columns(
        (
            make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()),
            ["height", "income"],
        ),
        (
            text_encoder(handle_unknown="ignore"),
            make_column_selector(dtype_exclude=[np.number, bool]),
        ),
        remainder="passthrough",
    )


CASES = {
    "standard": ([StandardScaler()], FULL),
    "standard array": ([StandardScaler()], ARRAY),
    "standard with gaps": ([StandardScaler()], GAPS),
    "scalers": ([MinMaxScaler(clip=True), MaxAbsScaler(), RobustScaler(unit_variance=True)], GAPS),
    "quantiles": ([QuantileTransformer(n_quantiles=20, output_distribution="normal")], ARRAY),
    "powers": ([PowerTransformer()], FULL),
    "nothing": (["passthrough", None, FunctionTransformer()], GAPS),
    "indicators": ([FeatureUnion([("i", SimpleImputer()), ("m", MissingIndicator())])], GAPS),
    "indicators of all": (
        [FeatureUnion([("i", SimpleImputer()), ("m", MissingIndicator(features="all"))])],
        GAPS,
    ),
    "splines": ([StandardScaler(), SplineTransformer(4), VarianceThreshold()], FULL),
    "splines without one": ([SplineTransformer(3, degree=2, include_bias=False)], ARRAY),
    "above a threshold": ([StandardScaler(), Binarizer(threshold=0.5)], FULL),
    "number by number": ([FunctionTransformer(np.tanh), StandardScaler()], GAPS),
    "nothing between": ([StandardScaler(), "passthrough", MinMaxScaler(), None], FULL),
    "ordinal": (
        [
            OrdinalEncoder(
                handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=np.nan
            )
        ],
        UNSEEN[TEXTS],
    ),
    "imputer": ([SimpleImputer()], NUMBERS),
    "imputer with indicators": ([SimpleImputer(add_indicator=True), StandardScaler()], NUMBERS),
    "imputer on empty column": ([SimpleImputer(add_indicator=True)], EMPTY),
    "imputer keeps empty column": (
        [SimpleImputer(add_indicator=True, keep_empty_features=True)],
        EMPTY,
    ),
    "imputer with nothing to put in": (
        [SimpleImputer(strategy="constant", fill_value=np.nan, keep_empty_features=True)],
        EMPTY,
    ),
    "constant imputer on empty column": (
        [SimpleImputer(strategy="constant", fill_value=-1)],
        EMPTY,
    ),
    "one-hot": ([OneHotEncoder()], FRAME[TEXTS]),
    "one-hot dense array": ([OneHotEncoder(sparse_output=False)], MIXED),
    "one-hot drop first": ([OneHotEncoder(drop="first")], FRAME[TEXTS]),
    "one-hot drop if binary": ([OneHotEncoder(drop="if_binary", dtype=np.float32)], FRAME[TEXTS]),
    "one-hot drop chosen": ([OneHotEncoder(drop=["Chur", "m"])], MIXED),
    "one-hot unknown": ([OneHotEncoder(handle_unknown="ignore")], UNSEEN[TEXTS]),
    "one-hot infrequent": (
        [OneHotEncoder(min_frequency=0.1, handle_unknown="infrequent_if_exist")],
        UNSEEN[TEXTS],
    ),
    "one-hot infrequent dropped": (
        [OneHotEncoder(max_categories=4, drop=["Bern", "m", "mid"])],
        FRAME[TEXTS],
    ),
    "one-hot infrequent, if binary dropped": (
        [OneHotEncoder(max_categories=2, drop="if_binary")],
        FRAME[TEXTS],
    ),
    "one-hot infrequent, first dropped": (
        [OneHotEncoder(min_frequency=10, drop="first")],
        FRAME[TEXTS],
    ),
    "one-hot of more than comes": (
        [
            OneHotEncoder(
                categories=[["Basel", "Bern", "Oslo"], ["f", "m"]], handle_unknown="ignore"
            )
        ],
        MIXED,
    ),
    "bins": (
        [KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf")],
        ARRAY,
    ),
    "bins one-hot": ([KBinsDiscretizer([3, 5, 2], strategy="uniform")], FULL),
    "bins one-hot dense": (
        [
            KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"),
            StandardScaler(),
        ],
        ARRAY,
    ),
    "sparse all the way": (
        [OneHotEncoder(), StandardScaler(with_mean=False), MaxAbsScaler()],
        FRAME[TEXTS],
    ),
    "selection": ([StandardScaler(), SelectKBest(f_regression, k=2)], ARRAY),
    "selection after one-hot": ([OneHotEncoder(), VarianceThreshold(0.1)], FRAME[TEXTS]),
    "selection by a model": (
        [StandardScaler(), SelectFromModel(Lasso(0.5), threshold="mean")],
        FULL,
    ),
    "usual": ([usual()], FRAME),
    "usual, dense": ([usual().set_params(sparse_threshold=0)], FRAME),
    "usual, sparse": ([usual().set_params(sparse_threshold=1)], FRAME),
    "usual, then more": (
        [usual(), VarianceThreshold(0.01), StandardScaler(with_mean=False)],
        FRAME,
    ),
    "columns by name": (
        [columns((StandardScaler(), ["height", "age"]), (OneHotEncoder(), ["town"]))],
        FRAME,
    ),
    "columns by slice of names": (
        [
            columns(
                (OneHotEncoder(), slice("sex", "sex")),
                (RobustScaler(), slice("age", "age")),
                remainder="drop",
            )
        ],
        FRAME,
    ),
    "columns by open slice of names": ([columns((MinMaxScaler(), slice("income", None)))], FULL),
    "columns by position": (
        [columns((StandardScaler(), [-3, 0]), (OneHotEncoder(), [1, 3]))],
        FRAME,
    ),
    "columns by slice": (
        [columns((StandardScaler(), slice(0, 2)), (MinMaxScaler(), slice(2, 0, -1)))],
        ARRAY,
    ),
    "columns by mask": (
        [
            columns(
                (StandardScaler(), [True, False, True]),
                (MinMaxScaler(), np.array([False, True, False])),
            )
        ],
        ARRAY,
    ),
    "columns by callable": (
        [columns((StandardScaler(), lambda frame: ["income", "age"]), remainder=MinMaxScaler())],
        FULL,
    ),
    "columns by selector": (
        [
            columns(
                (OrdinalEncoder(), make_column_selector(dtype_include="category")),
                (MinMaxScaler(), make_column_selector("e.*t|inc")),
            )
        ],
        FRAME,
    ),
    "columns in another order": (
        [columns((StandardScaler(), [2, 0]), remainder="passthrough")],
        GAPS,
    ),
    "a column twice": (
        [
            columns(
                (StandardScaler(), ["age", "income"]),
                (KBinsDiscretizer(3, strategy="uniform"), ["age"]),
            )
        ],
        FULL,
    ),
    "dropped columns": (
        [
            columns(
                ("drop", ["age"]),
                ("passthrough", ["income"]),
                (OneHotEncoder(), []),
                remainder="drop",
            )
        ],
        FULL,
    ),
    "weights": (
        [
            ColumnTransformer(
                [("a", StandardScaler(), [1]), ("b", "passthrough", [0])],
                remainder=RobustScaler(),
                transformer_weights={"a": 3.0, "remainder": 0.5},
            )
        ],
        ARRAY,
    ),
    "remainder is an estimator": (
        [columns((OneHotEncoder(), TEXTS), remainder=SimpleImputer())],
        FRAME,
    ),
    "remainder is a pipeline": (
        [columns(("passthrough", [1]), remainder=make_pipeline("passthrough", StandardScaler()))],
        GAPS,
    ),
    "nested pipelines": (
        [
            make_pipeline(make_pipeline(SimpleImputer(add_indicator=True)), "passthrough"),
            Pipeline([("a", None)]),
        ],
        NUMBERS,
    ),
    "nested column transformers": (
        [
            columns(
                (
                    make_pipeline(
                        columns((SimpleImputer(), [2]), remainder="passthrough"),
                        columns(
                            (KBinsDiscretizer(3, strategy="uniform"), [0]), remainder="passthrough"
                        ),
                    ),
                    ["height", "age", "income"],
                ),
                (
                    columns((OneHotEncoder(), ["sex"]), remainder=OrdinalEncoder()),
                    ["town", "grade", "sex"],
                ),
            )
        ],
        FRAME,
    ),
    "frames between the steps": (
        [
            usual()
            .set_params(**{"pipeline-2__onehotencoder__sparse_output": False})
            .set_output(transform="pandas"),
            columns(
                (MinMaxScaler(), make_column_selector("pipeline-1")), remainder="passthrough"
            ).set_output(transform="pandas"),
        ],
        FRAME,
    ),
    "column transformers in a row": (
        [
            columns((SimpleImputer(), ["income"]), remainder="passthrough"),
            columns((StandardScaler(), [2]), remainder="passthrough"),
        ],
        FULL,
    ),
}
every_case = pytest.mark.parametrize(("steps", "rows"), CASES.values(), ids=CASES)
# An imputer says on every call that it leaves out an empty column.
empty_columns_are_named = pytest.mark.filterwarnings(
    "ignore:Skipping features without any observed values"
)


def fit(steps, rows):
    """Fit steps and a tree on the first rows; return the model and all rows."""
    target = np.nan_to_num(FRAME["height"]) + FRAME["age"]
    model = make_pipeline(*steps, DecisionTreeRegressor(max_depth=3, random_state=0))
    return model.fit(rows[:N_FITTED], target[:N_FITTED])


def names_of(rows):
    return (
        list(rows.columns)
        if isinstance(rows, pd.DataFrame)
        else [str(i) for i in range(rows.shape[1])]
    )


def split(model, rows):
    return split_model(model, rows.shape[1], names_of(rows))


def dense(encoded):
    return np.asarray(
        encoded.toarray() if hasattr(encoded, "toarray") else encoded, dtype=np.float64
    )


def with_column_of(rows, others, column):
    """Return a copy of the rows in which one column comes from other rows."""
    swapped = rows.copy()
    if isinstance(rows, pd.DataFrame):
        swapped[rows.columns[column]] = others.iloc[:, column].set_axis(rows.index)
    else:
        swapped[:, column] = others[:, column]
    return swapped


def changes(encoded, other):
    return np.any((encoded != other) & ~(np.isnan(encoded) & np.isnan(other)), axis=0)


@empty_columns_are_named
@every_case
def test_encoder_gives_what_the_pipeline_gives_its_estimator(steps, rows):
    """The encoded rows are the pipeline's own, dense and in float64, and the rows stay as they
    are.
    """
    model = fit(steps, rows)
    encoder, _ = split(model, rows)
    before = rows.copy()
    encoded = encoder(rows)
    assert type(encoded) is np.ndarray
    assert encoded.dtype == np.float64
    assert encoded.shape == (len(rows), len(encoder.owner))
    np.testing.assert_array_equal(encoded, dense(model[:-1].transform(rows)))
    pd.testing.assert_frame_equal(pd.DataFrame(rows), pd.DataFrame(before))


@empty_columns_are_named
@every_case
def test_exactly_the_owned_columns_follow_a_raw_column(steps, rows):
    """Other values in one raw column change the encoded columns that it owns, all that vary, and no
    others.
    """
    encoder, _ = split(fit(steps, rows), rows)
    half = len(rows) // 2
    some, others = rows[:half], rows[half:]
    encoded = encoder(some)
    vary = changes(encoded, encoder(others))
    assert np.mean(vary) > 0.7
    for column in range(rows.shape[1]):
        changed = changes(encoded, encoder(with_column_of(some, others, column)))
        np.testing.assert_array_equal(changed, (encoder.owner == column) & vary)


def test_owners_of_the_usual_preprocessing():
    """Written out: two numbers and their indicators, one-hot groups, the rest as it comes."""
    encoder, _ = split(fit([usual()], FRAME), FRAME)
    height, income, town, sex, grade, age, member = (
        FRAME.columns.get_loc(name)
        for name in ["height", "income", "town", "sex", "grade", "age", "member"]
    )
    expected = [height, income, height, income, *[town] * 5, *[sex] * 2, *[grade] * 3, age, member]
    assert encoder.owner.tolist() == expected


def test_a_dropped_column_owns_nothing():
    """Neither an explicit "drop" nor the remainder leaves an owner behind."""
    steps, rows = CASES["dropped columns"]
    encoder, _ = split(fit(steps, rows), rows)
    assert encoder.owner.tolist() == [1]


def test_owners_are_those_of_the_rows_when_the_model_was_fitted_on_another_order():
    """A ColumnTransformer finds its columns by name, so the rows may have theirs in another order,
    or more.
    """
    model = fit(["passthrough", usual()], FRAME)
    rows = FRAME[[*FRAME.columns[::-1]]].assign(more=0.0)
    encoder, _ = split(model, rows)
    np.testing.assert_array_equal(encoder(rows), dense(model[:-1].transform(rows)))
    here, there = np.array(names_of(rows)), np.array(names_of(FRAME))
    assert here[encoder.owner].tolist() == there[split(model, FRAME)[0].owner].tolist()


def test_a_missing_column_that_the_model_drops_is_fine_and_any_other_is_not():
    """The names decide; a model that needs a column the rows do not have is not looked through."""
    model = fit([columns((StandardScaler(), ["height", "income"]))], FULL)
    assert split(model, FULL[["income", "height"]])[0].owner.tolist() == [1, 0]
    assert split(model, FULL[["income", "age"]]) is None


class Scaler(StandardScaler):
    """May do anything."""


class Shuffled(StandardScaler):
    """A class of scikit-learn's name from elsewhere, which mixes columns."""

    def transform(self, X):
        return super().transform(X)[:, ::-1]


Shuffled.__name__ = "StandardScaler"


@pytest.mark.parametrize(
    "step",
    [
        KernelPCA(2),
        Normalizer(),
        KNNImputer(),
        FunctionTransformer(np.nan_to_num),
        FeatureUnion([("a", PCA(2))]),
        Scaler(),
        Shuffled(),
    ],
    ids=[
        "kernel components",
        "rows to length 1",
        "neighbours",
        "function",
        "union of one that mixes",
        "subclass",
        "namesake",
    ],
)
def test_a_step_that_mixes_columns_or_is_unknown_is_not_looked_through(step):
    """Alone, in a nested pipeline, and on some columns only."""
    model = fit([step], ARRAY)
    assert split(model, ARRAY) is None
    for around in [
        make_pipeline(StandardScaler(), make_pipeline(step)),
        columns((step, [0, 1]), remainder="passthrough"),
        columns((StandardScaler(), [0]), remainder=step),
        columns((make_pipeline("passthrough", step), [0, 2])),
    ]:
        assert split(fit([around], ARRAY), ARRAY) is None


def test_a_mixing_step_on_no_columns_does_not_matter():
    """What never runs cannot mix."""
    model = fit([columns((PCA(), []), remainder="passthrough")], ARRAY)
    assert split(model, ARRAY)[0].owner.tolist() == [0, 1, 2]


def test_steps_that_do_not_fit_together_are_not_looked_through():
    """A width other than the one read from the steps says that they were not understood."""
    model = fit([OneHotEncoder()], MIXED)
    model[0].drop_idx_ = np.array([0, 0], dtype=object)
    assert split(model, MIXED) is None
    model = fit([columns((StandardScaler(), [0, 1]))], ARRAY)
    assert split_model(model, 4, ["a", "b", "c", "d"]) is None


@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(5, random_state=0),
        make_pipeline(Ridge()),
        make_pipeline("passthrough", Ridge()),
    ],
    ids=["forest", "pipeline of one", "pipeline of one and nothing"],
)
@pytest.mark.parametrize("rows", [FULL, ARRAY], ids=["frame", "array"])
def test_a_bare_estimator_has_the_identity_encoder(model, rows):
    """No steps, every column owns itself."""
    model.fit(rows, FRAME["age"])
    encoder, estimator = split(model, rows)
    assert encoder.steps == ()
    assert estimator is (model[-1] if isinstance(model, Pipeline) else model)
    np.testing.assert_array_equal(encoder.owner, np.arange(3))
    np.testing.assert_array_equal(encoder(rows), ARRAY)


def test_a_plain_function_has_the_identity_encoder():
    """Nothing is asked of a model that is no Pipeline."""
    encoder, estimator = split_model(np.sum, 3, ["a", "b", "c"])
    assert estimator is np.sum
    np.testing.assert_array_equal(encoder(ARRAY), ARRAY)


def test_numbers_of_every_kind_become_float64_and_text_is_refused():
    """Booleans, nullable integers and number categories are numbers to scikit-learn, so they are
    here.
    """
    rows = pd.DataFrame(
        {
            "flag": [True, False],
            "count": pd.array([3, None], dtype="Int64"),
            "level": pd.Categorical([1, 2]),
            "share": np.array([0.5, np.inf]),
        }
    )
    identity = Encoder((), np.arange(4))
    np.testing.assert_array_equal(identity(rows), [[1, 3, 1, 0.5], [0, np.nan, 2, np.inf]])
    with pytest.raises(ValueError, match="Zug"):
        identity(rows.assign(flag=["Zug", "Chur"]))


@pytest.mark.parametrize(
    "step",
    [
        StandardScaler(copy=False),
        SimpleImputer(copy=False),
        columns((MinMaxScaler(copy=False), slice(0, 3))),
    ],
    ids=["scaler", "imputer", "columns"],
)
def test_rows_stay_as_they_are_under_transformers_that_work_in_place(step):
    """The rows of one call may be used again."""
    model = fit([step], GAPS.copy())
    rows = GAPS[:5].copy()
    once = split(model, GAPS)[0](rows)
    np.testing.assert_array_equal(rows, GAPS[:5])
    assert not np.array_equal(once, rows, equal_nan=True)


def test_the_encoder_survives_pickling():
    """Same owners and same encoded rows."""
    encoder, _ = split(fit([usual()], FRAME), FRAME)
    again = pickle.loads(pickle.dumps(encoder))
    assert type(again) is Encoder
    np.testing.assert_array_equal(again.owner, encoder.owner)
    np.testing.assert_array_equal(again(FRAME), encoder(FRAME))


def test_the_final_estimator_is_the_pipelines_own_last_step():
    """Not a copy; and on encoded rows it predicts what the pipeline predicts."""
    model = fit([usual()], FRAME)
    encoder, estimator = split(model, FRAME)
    assert estimator is model[-1]
    assert encoder.steps == (model[0],)
    np.testing.assert_array_equal(estimator.predict(encoder(FRAME)), model.predict(FRAME))


def test_a_pipeline_in_last_position_is_split_too():
    """Its steps belong to the encoder, its last step is the estimator."""
    inner = make_pipeline(StandardScaler(), make_pipeline("passthrough", Ridge()))
    model = make_pipeline(SimpleImputer(add_indicator=True), inner).fit(NUMBERS, FRAME["age"])
    encoder, estimator = split(model, NUMBERS)
    assert estimator is model[-1][-1][-1]
    assert encoder.steps == (model[0], model[-1][0])
    assert encoder.owner.tolist() == [0, 1, 2, 1, 2]
    np.testing.assert_array_equal(estimator.predict(encoder(NUMBERS)), model.predict(NUMBERS))
    mixing = make_pipeline(StandardScaler(), make_pipeline(KernelPCA(2), Ridge())).fit(
        ARRAY, FRAME["age"]
    )
    assert split(mixing, ARRAY) is None
