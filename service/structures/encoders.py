"""Encoders: preprocessing in which every encoded column depends on one raw column.

A structured engine works in the encoded space of the final estimator, and the players stay the raw
columns: the columns of a one-hot group belong to one feature. Which step gives which columns is one
explicit table of scikit-learn's own classes; a subclass may do anything, so it is not in the table.
Nothing is fitted and no rows are needed to split a model. Next: :mod:`service.structures.links`.

| step                                                      | owners of its columns                |
|-----------------------------------------------------------|--------------------------------------|
| scalers, quantiles, powers, ordinal codes, Binarizer,     | column by column                     |
| "passthrough" and None                                    |                                      |
| FunctionTransformer without a function, or with one of    | column by column                     |
| numpy's own for each number, such as ``np.log1p``         |                                      |
| SimpleImputer                                             | the columns kept, then those with    |
|                                                           | indicators                           |
| MissingIndicator                                          | the columns with indicators          |
| OneHotEncoder, KBinsDiscretizer, SplineTransformer        | each column as often as it has       |
|                                                           | categories, or splines               |
| TargetEncoder                                             | column by column, or one for each    |
|                                                           | of several classes                   |
| feature selection                                         | the columns kept                     |
| whatever a ColumnTransformer gives one column alone       | that column                          |
| Pipeline, ColumnTransformer, FeatureUnion, in each other  | those of the steps inside            |
| PolynomialFeatures or linear maps (PCA), and scalers      | none: a part of the estimator        |
| after them, as the last ones                              |                                      |
| everything else: custom transformers, subclasses          | unknown, the model is not looked     |
|                                                           | through                              |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import filterfalse, pairwise, starmap
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from service.structures.class_names import Caller, sklearn_name
from service.structures.searches import look_through

Owner = NDArray[np.intp]

# The steps that give each column a scale and a shift, as long as they do not clip.
AFFINE = dict.fromkeys(("MaxAbsScaler", "MinMaxScaler", "RobustScaler", "StandardScaler"), False)
# The steps that make sums of all columns of them.
MAPS = (
    "FactorAnalysis",
    "FastICA",
    "GaussianRandomProjection",
    "IncrementalPCA",
    "LinearDiscriminantAnalysis",
    "NeighborhoodComponentsAnalysis",
    "PCA",
    "SparseRandomProjection",
    "TruncatedSVD",
)
# The steps that keep some of their columns and change none.
SELECTIONS = (
    "GenericUnivariateSelect",
    "RFE",
    "RFECV",
    "SelectFdr",
    "SelectFpr",
    "SelectFromModel",
    "SelectFwe",
    "SelectKBest",
    "SelectPercentile",
    "SequentialFeatureSelector",
    "VarianceThreshold",
)


@dataclass(frozen=True)
class Encoder:
    """Preprocessing whose every output column depends on one raw column.

    Attributes
    ----------
    steps : tuple of object
        Fitted transformers, applied in order; none of them for the identity.
    owner : ndarray of shape (n_encoded,)
        The raw column of each encoded column. A raw column may own several, or none when it is
        dropped.
    """

    steps: tuple[Any, ...]
    owner: Owner

    def __call__(self, rows: pd.DataFrame | NDArray[Any]) -> NDArray[np.float64]:
        """Encode rows.

        Parameters
        ----------
        rows : DataFrame or ndarray of shape (n_rows, n_columns)
            What the model itself takes. They stay as they are, also under transformers with
            ``copy=False``.

        Returns
        -------
        ndarray of shape (n_rows, n_encoded)
            Dense; missing values that the steps leave are NaN.

        Raises
        ------
        ValueError
            When an encoded value is not a number: a text column that no step encodes.
        """
        encoded: Any = rows
        if self.steps:
            encoded = rows.copy()
        for step in self.steps:
            encoded = step.transform(encoded)
        return check_array(
            make_dense(encoded),
            dtype=np.float64,
            ensure_all_finite=False,
            ensure_min_samples=0,
            ensure_min_features=0,
        )

    def followed_by(self, inner: Encoder) -> Encoder:
        """Return this encoder and then another one, which takes the columns that this one gives."""
        return Encoder((*self.steps, *inner.steps), self.owner[inner.owner])


@dataclass(frozen=True)
class CutTexts:
    """Categories of which XGBoost keeps pieces: it counts letters where it means bytes.

    With letters other than those of ASCII the pieces are those of other categories, or of two. It
    cuts the categories of the rows that it is asked for alike, and compares pieces.

    Attributes
    ----------
    pieces : tuple of bytes
    """

    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, categories: Iterable[str]) -> CutTexts:
        r"""Cut categories as XGBoost does.

        >>> CutTexts.of(["é", "a", "b"])
        CutTexts(pieces=(b'\xc3', b'\xa9', b'a'))
        """
        offsets = np.cumsum([0, *map(len, categories)])
        return cls.at("".join(categories).encode(), offsets)

    @classmethod
    def at(cls, text: bytes, offsets: Iterable[int]) -> CutTexts:
        """Cut bytes at offsets, from the beginning of the first piece to the end of the last."""
        return cls(tuple(map(text.__getitem__, starmap(slice, pairwise(offsets)))))

    def positions(self, categories: Iterable[str]) -> NDArray[np.float64]:
        """Return where each category is taken to be among these, NaN for none of them."""
        place = dict(zip(self.pieces[::-1], range(len(self.pieces) - 1, -1, -1), strict=True))
        return np.array([place.get(piece, np.nan) for piece in CutTexts.of(categories).pieces])


@dataclass(frozen=True)
class PandasCodes:
    """What a booster makes of a frame's categorical columns: their codes among those that it knows.

    Attributes
    ----------
    categories : sequence of sequences or CutTexts
        Those of each categorical column, in the order of the columns.
    """

    categories: Sequence[Sequence[Any] | CutTexts]

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Replace categories by their codes; one that the booster does not know is missing."""
        coded = rows.copy()
        columns = rows.select_dtypes("category").columns
        for name, known in zip(columns, self.categories, strict=True):
            own = rows[name].cat
            if isinstance(known, CutTexts):
                places = np.append(known.positions(own.categories), np.nan)
                coded[name] = places[own.codes]  # what is missing has the code −1
                continue
            codes = own.set_categories(known).cat.codes
            coded[name] = codes.where(codes >= 0, np.nan)
        return coded


@dataclass(frozen=True)
class TransformedModel:
    """A fitted model behind fitted transformations: it takes raw rows, and nothing is fitted again.

    A scikit-learn Pipeline of both would want an estimator of scikit-learn's last, and this takes
    functions and boosters too.

    Attributes
    ----------
    steps : tuple of (str, object)
        Fitted transformers in order, the model last, as those of a Pipeline.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> scaler = StandardScaler().fit([[0.0], [2.0]])
    >>> model = TransformedModel((("scale", scaler), ("sum", lambda rows: rows.sum(axis=1))))
    >>> model([[4.0]]), model.n_features_in_, hasattr(model, "predict")
    (array([3.]), 1, False)
    """

    steps: tuple[tuple[str, Any], ...]

    @property
    def model(self) -> Any:
        """The model itself, which takes transformed rows."""
        return self.steps[-1][1]

    def transform_rows(self, rows: Any) -> Any:
        """Return raw rows as the model itself takes them; they stay as they are themselves."""
        rows = rows.copy()  # a transformer may write into what it gets
        for _, step in self.steps[:-1]:
            rows = step.transform(rows)
        return rows

    def __call__(self, rows: Any) -> Any:
        """Call the model, which is a function, with raw rows."""
        return self.model(self.transform_rows(rows))

    def __getattr__(self, name: str) -> Any:
        """Answer as the model does, and take the columns that the first transformer takes."""
        answer = _ANSWERS.get(name, TransformedModel._refuse)
        return answer(self, name)

    def _take_from_first(self, name: str) -> Any:
        return getattr(self.steps[0][1], name)

    def _take_from_model(self, name: str) -> Any:
        return getattr(self.model, name)

    def _take_method(self, name: str) -> Callable[..., Any]:
        return partial(self._ask, getattr(self.model, name))

    def _refuse(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _ask(self, method: Callable[..., Any], rows: Any, **options: Any) -> Any:
        return method(self.transform_rows(rows), **options)


_ANSWERS: dict[str, Callable[[TransformedModel, str], Any]] = {
    "feature_names_in_": TransformedModel._take_from_first,
    "n_features_in_": TransformedModel._take_from_first,
    "__sklearn_tags__": TransformedModel._take_from_model,
    "classes_": TransformedModel._take_from_model,
    "decision_function": TransformedModel._take_method,
    "predict": TransformedModel._take_method,
    "predict_proba": TransformedModel._take_method,
    "transform": TransformedModel._take_method,
}


def model_itself(model: Any) -> Any:
    """Return the model behind transformations, or behind what asks it; any other as it is."""
    while isinstance(model, TransformedModel | Caller | partial):
        model = model.func if isinstance(model, partial) else model.model
    return model


def make_dense(numbers: Any) -> Any:
    """Return sparse numbers as an array, and all others as they are."""
    return numbers.toarray() if hasattr(numbers, "toarray") else numbers


def split_model(model: Any, n_columns: int, names: Sequence[str]) -> tuple[Encoder, Any] | None:
    """Split a fitted model into its preprocessing and its final estimator.

    Parameters
    ----------
    model : object
        A scikit-learn Pipeline is split, through Pipelines and searches inside and around it too.
        Anything else is an estimator by itself.
    n_columns : int
    names : sequence of str
        The raw columns in the order of the rows. A ColumnTransformer fitted on a DataFrame finds
        its columns by name, whatever their order.

    Returns
    -------
    (Encoder, object) or None
        The identity encoder for an estimator without preprocessing; None when a step mixes columns
        or is not in the table, and for a model that is None.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> model = make_pipeline(OneHotEncoder(), Ridge()).fit([[1, 7], [2, 7], [3, 7]], [1, 2, 3])
    >>> encoder, estimator = split_model(model, 2, ["size", "shape"])
    >>> encoder.owner.tolist(), estimator
    ([0, 0, 0, 1], Ridge())
    """
    flat = list(steps_of(model))
    if not flat:
        return None
    steps, estimator = _split_at_mixing(flat)
    if not steps:
        return Encoder((), np.arange(n_columns)), estimator
    raw = raw_columns(steps[0], n_columns, names)
    owner = _through(steps, len(raw))
    if owner is None or not _fits(estimator, len(owner)):
        return None
    raw_owner = raw[owner]
    if np.any(raw_owner < 0):
        return None
    return Encoder(tuple(steps), raw_owner), estimator


def _split_at_mixing(flat: list[Any]) -> tuple[list[Any], Any]:
    """Take polynomial terms, or linear maps, as a part of the estimator behind them.

    So is what scales either of them.
    """
    last = len(flat) - 1
    starts = filter(lambda start: _mix_columns(flat[start:last]), range(last))
    start = next(starts, last)
    behind = [(str(number), step) for number, step in enumerate(flat[start:])]
    return flat[:start], flat[last] if start == last else Pipeline(behind)


def _mix_columns(steps: Sequence[Any]) -> bool:
    return are_terms(steps) or are_maps(steps)


def are_terms(steps: Sequence[Any]) -> bool:
    """Tell whether steps make polynomial terms, and scale them at most."""
    terms, *scalers = steps
    return sklearn_name(terms) == "PolynomialFeatures" and all(map(_is_affine, scalers))


def are_maps(steps: Sequence[Any]) -> bool:
    """Tell whether steps begin with a linear map of all columns, and are no more than that."""
    return sklearn_name(steps[0]) in MAPS and are_linear(steps)


def are_linear(steps: Sequence[Any]) -> bool:
    """Tell whether steps are linear maps and scalers, and nothing else."""
    return all(map(_is_linear, steps))


def _is_linear(step: Any) -> bool:
    return sklearn_name(step) in MAPS or _is_affine(step)


def _is_affine(step: Any) -> bool:
    """Tell whether a step multiplies columns and adds to them, and nothing else."""
    return AFFINE.get(sklearn_name(step)) is getattr(step, "clip", False)


def last_step(model: Any) -> Any:
    """Return what a model ends in: the last step of its Pipelines, or the model itself.

    Searches and thresholds on the way are looked through.
    """
    return [model, *steps_of(model)][-1]


def first_step(model: Any) -> Any:
    """Return what a model begins with: the first step of its Pipelines, or the model itself."""
    return next(steps_of(model), model)


def steps_of(step: Any) -> Iterator[Any]:
    """Walk through nested Pipelines and searches, past the steps that do nothing."""
    step = look_through(step)
    if step is None or is_word(step, "passthrough"):
        return
    if sklearn_name(step) != "Pipeline" and not isinstance(step, TransformedModel):
        yield step
        return
    for _, inner in step.steps:
        yield from steps_of(inner)


def raw_columns(first: Any, n_columns: int, names: Sequence[str]) -> Owner:
    """Find the columns on which the first step was fitted among the raw ones.

    Parameters
    ----------
    first : object
        A fitted transformer.
    n_columns : int
    names : sequence of str
        The raw columns in the order of the rows.

    Returns
    -------
    ndarray of int
        Positions; −1 for a column that is not there.
    """
    if getattr(first, "feature_names_in_", None) is None:
        return np.arange(n_columns)
    position = dict(zip(names, range(len(names)), strict=True))
    return np.array([position.get(name, -1) for name in first.feature_names_in_], dtype=np.intp)


def unread_columns(model: Any, n_columns: int, names: Sequence[str]) -> Owner:
    """Find the raw columns that reach no step of a model, so that they change no answer.

    Parameters
    ----------
    model : object
    n_columns : int
    names : sequence of str
        The raw columns in the order of the rows.

    Returns
    -------
    ndarray of int
        Their positions, in order.
    """
    first = first_step(model)
    raw = raw_columns(first, n_columns, names)
    if np.any(raw < 0):  # it goes by other names
        return np.arange(0)
    read = raw[_columns_read(first, len(raw))]
    return np.setdiff1d(np.arange(n_columns), read)


def _columns_read(step: Any, n_inputs: int) -> Owner:
    """Return the positions of the columns that a step makes something of."""
    return _READ.get(sklearn_name(step), _one_to_one)(step, n_inputs)


def _read_by_blocks(transformer: Any, _: int) -> Owner:
    columns = map(itemgetter(2), blocks_of(transformer))
    return np.concatenate([np.arange(0), *columns])


def _read_by_branches(union: Any, n_inputs: int) -> Owner:
    first_steps = map(first_step, branches_of(union))
    return np.concatenate(list(map(partial(_columns_read, n_inputs=n_inputs), first_steps)))


def _through(steps: Sequence[Any], n_inputs: int) -> Owner | None:
    """Return which input column owns each column that comes out of the last of several steps."""
    owner = np.arange(n_inputs)
    for step in steps:
        of_step = _through_one(step, len(owner))
        if of_step is None:
            return None
        owner = owner[of_step]
    return owner


def _through_one(step: Any, n_inputs: int) -> Owner | None:
    """Return which input column owns each column that comes out of a step, None if unknown."""
    find_owners = _RULES.get(sklearn_name(step))
    if find_owners is None or not _fits(step, n_inputs):
        return None
    return find_owners(step, n_inputs)


def is_looked_through(step: Any) -> bool:
    """Tell whether the table has a step, whatever its columns are."""
    known = (*_RULES, "str")  # a word, in place of a step that drops its columns
    return type(step).__name__ in known and is_elementwise(getattr(step, "func", None))


def _fits(step: Any, n_inputs: int) -> bool:
    """Check the width that the steps before it were read to have; not every step knows its own."""
    return getattr(step, "n_features_in_", n_inputs) == n_inputs


def is_word(step: Any, word: str) -> bool:
    """Tell whether a step is this word, in place of a transformer."""
    if not isinstance(step, str):
        return False
    return step == word


# One rule for each kind of step: (fitted step, n_inputs) -> the input column of each output column,
# None if unknown.


def _one_to_one(_: Any, n_inputs: int) -> Owner:
    return np.arange(n_inputs)


def _function(transformer: Any, n_inputs: int) -> Owner | None:
    if not is_elementwise(transformer.func):
        return None
    return np.arange(n_inputs)


def is_elementwise(function: Any) -> bool:
    """Tell whether a function gives one number for each, as NumPy's know; None does nothing."""
    takes, gives = getattr(function, "nin", 0), getattr(function, "nout", 0)
    return function is None or (takes, gives) == (1, 1)


def _imputer(imputer: Any, n_inputs: int) -> Owner:
    """Drop columns without a statistic, those that were empty; indicators come after the values."""
    kept = np.arange(n_inputs)
    if not imputer.keep_empty_features:
        kept = kept[~pd.isna(imputer.statistics_)]
    if not imputer.add_indicator:
        return kept
    return np.concatenate([kept, imputer.indicator_.features_])


def _indicator(indicator: Any, _: int) -> Owner:
    return np.asarray(indicator.features_)


def _splines(transformer: Any, n_inputs: int) -> Owner:
    return np.repeat(np.arange(n_inputs), transformer.n_features_out_ // n_inputs)


def _one_hot(encoder: Any, n_inputs: int) -> Owner:
    """Count the categories; the infrequent ones share one column, and a dropped one has none."""
    counts = np.array(list(map(len, encoder.categories_)))
    infrequent = getattr(encoder, "infrequent_categories_", [])
    for column, categories in enumerate(infrequent):
        if categories is not None:
            counts[column] -= len(categories) - 1
    if encoder.drop_idx_ is not None:
        counts -= pd.notna(encoder.drop_idx_)
    return np.repeat(np.arange(n_inputs), counts)


def _bins(discretizer: Any, n_inputs: int) -> Owner:
    if discretizer.encode == "ordinal":
        return np.arange(n_inputs)
    return np.repeat(np.arange(n_inputs), discretizer.n_bins_)


def _targets(encoder: Any, n_inputs: int) -> Owner:
    """Count one column, or one for each of several classes."""
    n_each = {"multiclass": np.size(encoder.classes_)}.get(encoder.target_type_, 1)
    return np.repeat(np.arange(n_inputs), n_each)


def _selection(selector: Any, _: int) -> Owner:
    return selector.get_support(indices=True)


def _column_transformer(transformer: Any, n_inputs: int) -> Owner | None:
    """Put the blocks next to each other; ``transformers_`` has them in the order of the output."""
    blocks = [np.arange(0)]
    for name, inner, columns in blocks_of(transformer):
        if len(columns) == 1:  # whatever the steps do, all that comes out belongs to it
            width = transformer.output_indices_[name]
            blocks.append(columns.repeat(width.stop - width.start))
            continue
        of_block = _through(list(steps_of(inner)), len(columns))
        if of_block is None:
            return None
        blocks.append(columns[of_block])
    return np.concatenate(blocks)


def _feature_union(union: Any, n_inputs: int) -> Owner | None:
    """Put what each branch makes of all columns next to each other."""
    owners = [np.arange(0)]
    for branch in branches_of(union):
        of_branch = _through(list(steps_of(branch)), n_inputs)
        if of_branch is None:
            return None
        owners.append(of_branch)
    return np.concatenate(owners)


def branches_of(union: Any) -> list[Any]:
    """Return the transformers of a FeatureUnion that make something of its columns."""
    steps = dict(union.transformer_list).values()
    return list(filterfalse(partial(is_word, word="drop"), steps))


def blocks_of(transformer: Any) -> Iterator[tuple[str, Any, Owner]]:
    """Walk through what a fitted ColumnTransformer makes columns of.

    Yields
    ------
    name : str
    step : object
    columns : ndarray of int
        The positions of those that the step gets.
    """
    names = getattr(transformer, "feature_names_in_", np.arange(transformer.n_features_in_))
    for name, step, selected in transformer.transformers_:
        made = transformer.output_indices_[name]
        if made.stop > made.start:  # nothing is made by "drop", or of no columns
            yield name, step, _column_positions(selected, names)


def _column_positions(selected: Any, names: NDArray[Any]) -> Owner:
    """Turn a selection of columns (names, positions, a slice of either, a mask) into positions."""
    if isinstance(selected, slice):
        key: Any = selected
        parts = [selected.start, selected.stop]
    else:
        key = parts = np.atleast_1d(selected).tolist()
    is_by_name = any(isinstance(part, str) for part in parts)
    table = pd.Series(np.arange(len(names)), index=names)
    chosen = table.loc[key] if is_by_name else table.iloc[key]
    return chosen.to_numpy()


_READ: dict[str, Callable[[Any, int], Owner]] = {
    "ColumnTransformer": _read_by_blocks,
    "FeatureUnion": _read_by_branches,
}

_RULES: dict[str, Callable[[Any, int], Owner | None]] = {
    "MaxAbsScaler": _one_to_one,
    "MinMaxScaler": _one_to_one,
    "OrdinalEncoder": _one_to_one,
    "PowerTransformer": _one_to_one,
    "QuantileTransformer": _one_to_one,
    "RobustScaler": _one_to_one,
    "StandardScaler": _one_to_one,
    "FunctionTransformer": _function,
    "Binarizer": _one_to_one,
    "SimpleImputer": _imputer,
    "MissingIndicator": _indicator,
    "SplineTransformer": _splines,
    "OneHotEncoder": _one_hot,
    "KBinsDiscretizer": _bins,
    "TargetEncoder": _targets,
    **dict.fromkeys(SELECTIONS, _selection),
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
}
