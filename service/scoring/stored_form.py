"""What a saved scoring explainer consists of: plain dictionaries, lists and arrays.

A pickle names the module of every class in it, so moving a class would break all files that were
saved before. Therefore a scoring explainer is taken apart before it is pickled: each object of this
package becomes a dictionary with its *kind* and its attributes, and the one function that puts them
together again, :func:`rebuild`, is all that the pickle names of this package. Where each kind
stands today is said in the table below: who moves or renames a class changes its line, and the key
stays.

What belongs to others (numpy's arrays, a model that is called) is left as it is. Next:
:mod:`service.scoring.artifact`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import pandas as pd

ROOT = "service."
_ROOMS = {
    "rows.columns": ["Column"],
    "rows.schema": ["Schema"],
    "shapley.additive": ["AdditiveGame", "AdditiveModel", "Centred"],
    "shapley.background": ["Background", "BackgroundSummary"],
    "shapley.background_tables": ["SideTables"],
    "shapley.cache": ["BoundedCache"],
    "shapley.coalitions": ["Pairs"],
    "shapley.combined.neighbours": ["NeighboursGame"],
    "shapley.combined.stacked": ["StackedGame"],
    "shapley.controls": ["DrawMarks"],
    "shapley.games": ["BlackBoxGame"],
    "shapley.grouping": ["Grouped", "Grouping"],
    "shapley.kernel": ["RowByRow", "Sampling", "Stopping"],
    "shapley.linear": ["AlikeTerms", "PolynomialSum", "sum_against_each"],
    "shapley.kernels.distances": ["Distances"],
    "shapley.kernels.twigs": ["Counts", "Twigs"],
    "shapley.kernels.nearest": ["NearestPoints"],
    "shapley.permutations": ["PermutationGame"],
    "shapley.plan": ["Solver"],
    "shapley.polynomials": ["PolynomialKernel", "polynomial_shapley"],
    "shapley.products": ["EnumeratedProducts", "ProductGame", "ProductKernel", "product_shapley"],
    "shapley.survey": ["ExactGame", "Sample", "SampledGame", "Survey", "against_each"],
    "shapley.trees.forest": ["Forest", "Level"],
    "shapley.trees.linked": ["LinkedTreeGame"],
    "shapley.trees.patterns": ["TreeGame"],
    "shapley.trees.sampled": ["SampledTreeGame"],
    "shapley.trees.traversal": ["TraversedTreeGame", "TreeTraversal"],
    "structures.answer_forms": ["Indicators", "SecondOfTwo", "SideBySide", "VoteShares"],
    "structures.combined.boosted_votes": ["WeightedMedian"],
    "structures.combined.stacking": ["SummedTrees"],
    "structures.encoders": ["CutTexts", "Encoder", "PandasCodes", "TransformedModel"],
    "structures.kernel_machines": ["PolynomialStructure", "ProductStructure"],
    "structures.linear": ["LinearStructure", "LogLinearStructure", "identity_readout"],
    "structures.links": [
        "Averaged",
        "Calibrated",
        "Chained",
        "Elementwise",
        "Joined",
        "LinearMap",
        "OnePerClass",
        "OneVersusRest",
        "PairwisePlatt",
        "Shifted",
        "Sigmoid",
        "Temperature",
        "WeightedSum",
        "logistic",
        "mirrored",
        "multinomial",
        "second_of_two",
    ],
    "structures.networks": ["NetworkStructure"],
    "structures.foreign_networks.layers": ["Affine", "Network"],
    "structures.foreign_networks.torch_modules": ["call_module"],
    "structures.foreign_networks.keras_models": ["call_keras"],
    "structures.foreign_networks.read_networks": [
        "CalledMargins",
        "CalledNetwork",
        "NetworkClassifier",
        "NetworkRegressor",
        "ProbabilityNetwork",
    ],
    "structures.statistical.gaussian_processes": [
        "MeanSigmoid",
        "ProcessStructure",
        "RadialStructure",
    ],
    "structures.statistical.naive_bayes": ["ParabolaStructure", "ThresholdStructure"],
    "structures.statistical.process_kernels": ["Matern", "RationalQuadratic", "exponential"],
    "structures.xgboost_trees": ["BoosterModel"],
    "engines.engine": ["BackgroundErrors", "unchanged"],
    "engines.compiled_encoding": [
        "Applied",
        "Binned",
        "Blocks",
        "CompiledEncoder",
        "FittedEncoding",
        "Imputed",
        "LookedUp",
        "Scaled",
        "Selected",
        "Stretched",
    ],
    "engines.exact_engines": [
        "LinearEngine",
        "PolynomialEngine",
        "PolynomialSumEngine",
        "ProductEngine",
        "SumEngine",
        "TreeEngine",
    ],
    "engines.options": ["EngineOptions"],
    "engines.outputs": ["ModelName", "ModelOutput"],
    "engines.row_explainer": ["RowExplainer", "StandIn"],
    "engines.sampled_engines": ["Effort", "KernelEngine", "SampledBackgroundEngine", "ShapEngine"],
    "engines.surrogate": ["TreeControl"],
    "engines.transformed.engineered": ["EngineeredExplainer"],
    "scoring.explainer": ["KernelScoringExplainer"],
}


def _table() -> dict[str, str]:
    """Return where each kind stands, "module:name"."""
    table = {}
    for module, names in _ROOMS.items():
        table.update({name: f"{ROOT}{module}:{name}" for name in names})
    return table


KINDS = _table()
_KIND_OF = {place: kind for kind, place in KINDS.items()}


def take_apart(whole: Any) -> Any:
    """Turn objects of this package into plain dictionaries, at any depth.

    An object that stands in several places is taken apart once, and stands as one dictionary in all
    of them.

    Parameters
    ----------
    whole : object

    Returns
    -------
    object
        Dictionaries, lists, tuples and whatever belongs to others. A kind that the table does not
        have is left as it is.
    """
    return _Apart().part(whole)


def rebuild(parts: Any) -> Any:
    """Put together again what :func:`take_apart` has made.

    Parameters
    ----------
    parts : object

    Returns
    -------
    object

    Raises
    ------
    KeyError
        When a kind is unknown: a newer version of this package has saved it.
    """
    return _Together().whole(parts)


class _Apart:
    """One taking apart: what was taken apart before is not taken apart again."""

    def __init__(self) -> None:
        # By identity; the objects are kept as well, so that no identity is given out twice.
        self._done: dict[int, tuple[Any, Any]] = {}
        self._ways: dict[type, Callable[[Any], Any]] = {
            dict: self._dictionary,
            list: self._sequence,
            tuple: self._sequence,
            FunctionType: self._function,
            MethodType: self._method,
            partial: self._partial,
            pd.StringDtype: self._text_dtype,
            pd.CategoricalDtype: self._category_dtype,
        }

    def part(self, whole: Any) -> Any:
        if id(whole) in self._done:
            return self._done[id(whole)][1]
        way = self._ways.get(type(whole))
        if way is not None:
            return way(whole)
        return self._object(whole) if _kind(type(whole)) else whole

    def _dictionary(self, whole: dict[Any, Any]) -> dict[Any, Any]:
        items: dict[Any, Any] = {}
        # A dictionary that has a "kind" itself is not taken for an object.
        parts = {"kind": "dictionary", "items": items} if "kind" in whole else items
        self._done[id(whole)] = whole, parts
        for key, value in whole.items():
            items[key] = self.part(value)
        return parts

    def _sequence(self, whole: Any) -> Any:
        return type(whole)([self.part(one) for one in whole])

    def _function(self, whole: FunctionType) -> Any:
        return {"kind": "function", "name": _kind(whole)} if _kind(whole) else whole

    def _method(self, whole: MethodType) -> Any:
        if not _kind(type(whole.__self__)):
            return whole
        return {"kind": "method", "name": whole.__name__, "of": self.part(whole.__self__)}

    def _partial(self, whole: Any) -> Any:
        if not _is_ours(whole.func):
            return whole  # what a user's function was given is the user's
        given = [whole.func, whole.args, whole.keywords]
        return {"kind": "partial", "given": self.part(given)}

    def _text_dtype(self, whole: pd.StringDtype) -> dict[str, Any]:
        """Leave out how texts are stored: by pyarrow, where that is installed.

        Where the model is served it need not be, and pandas reads no pickle that names it then.
        """
        return {"kind": "text dtype", "has_na": whole.na_value is pd.NA}

    def _category_dtype(self, whole: Any) -> Any:
        texts = whole.categories
        if texts is None or not isinstance(texts.dtype, pd.StringDtype):
            return whole
        of = self._text_dtype(texts.dtype)
        return {
            "kind": "category dtype",
            "texts": texts.tolist(),
            "of": of,
            "ordered": whole.ordered,
        }

    def _object(self, whole: Any) -> dict[str, Any]:
        parts: dict[str, Any] = {"kind": _kind(type(whole))}
        self._done[id(whole)] = whole, parts
        # How an object wants to be pickled says which attributes are to be kept.
        reduced = object.__reduce_ex__(whole, 2)
        state = reduced[2] if len(reduced) > 2 else None
        parts["state"] = self.part(state or {})
        return parts


class _Together:
    """One putting together."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._ways: dict[str | None, Callable[[Any], Any]] = {
            None: self._dictionary,
            "dictionary": self._items,
            "function": self._function,
            "method": self._method,
            "partial": self._partial,
            "text dtype": self._text_dtype,
            "category dtype": self._category_dtype,
        }

    def whole(self, parts: Any) -> Any:
        if id(parts) in self._done:
            return self._done[id(parts)]
        if type(parts) in (list, tuple):
            return type(parts)([self.whole(one) for one in parts])
        if type(parts) is not dict:
            return parts
        way: Callable[[Any], Any] = self._ways.get(parts.get("kind"), self._object)
        return way(parts)

    def _dictionary(self, parts: dict[Any, Any]) -> dict[Any, Any]:
        if id(parts) in self._done:
            return self._done[id(parts)]
        whole: dict[Any, Any] = {}
        self._done[id(parts)] = whole
        for key, value in parts.items():
            whole[key] = self.whole(value)
        return whole

    def _items(self, parts: dict[str, Any]) -> dict[Any, Any]:
        return self._dictionary(parts["items"])

    def _function(self, parts: dict[str, Any]) -> Any:
        return _found(parts["name"])

    def _method(self, parts: dict[str, Any]) -> Any:
        return getattr(self.whole(parts["of"]), parts["name"])

    def _partial(self, parts: dict[str, Any]) -> Any:
        function, arguments, keywords = self.whole(parts["given"])
        return partial(function, *arguments, **keywords)

    def _text_dtype(self, parts: dict[str, Any]) -> pd.StringDtype:
        return pd.StringDtype(na_value=pd.NA if parts["has_na"] else np.nan)

    def _category_dtype(self, parts: dict[str, Any]) -> Any:
        texts = pd.Index(parts["texts"], dtype=self.whole(parts["of"]))
        return pd.CategoricalDtype(texts, parts["ordered"])

    def _object(self, parts: dict[str, Any]) -> Any:
        found = _found(parts["kind"])
        if not parts["state"]:
            return found()
        whole: Any = object.__new__(found)
        self._done[id(parts)] = whole
        state = self.whole(parts["state"])
        getattr(whole, "__setstate__", whole.__dict__.update)(state)
        return whole


def _found(kind: str) -> Any:
    """Return the class or function of a kind."""
    module, name = KINDS[kind].split(":")
    return getattr(import_module(module), name)


def _is_ours(function: Any) -> bool:
    return bool(_kind(getattr(function, "__func__", function)) or _kind(type(function)))


def _kind(thing: Any) -> str:
    """Return the kind of a class or function of this package, "" for all others."""
    module, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
    return _KIND_OF.get(f"{module}:{name}", "")
