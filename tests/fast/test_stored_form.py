import ast
import io
import pickle
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel, save
from service.scoring.stored_form import KINDS, rebuild, take_apart
from service.shapley.background import Background

ROOT = Path(__file__).parents[2]
# What is never part of a saved explainer: what reads models, what is made while a row is explained.
NEVER_SAVED = {
    "AdditiveStructure",
    "Angles",
    "EmptyText",
    "BackgroundError",
    "Booleans",
    "Caller",
    "Categories",
    "Combinable",
    "Combination",
    "CompiledKernels",
    "Control",
    "CountedTrees",
    "Curve",
    "CutForest",
    "Dates",
    "Decisions",
    "Design",
    "DrawControls",
    "Engine",
    "Examples",
    "Estimate",
    "Family",
    "FileReader",
    "FittedMachine",
    "Game",
    "HasSize",
    "Hybrids",
    "Importances",
    "Integers",
    "KernelMachineStructure",
    "Kind",
    "Library",
    "LinkedGame",
    "LocalImportances",
    "MarginGame",
    "ModelCost",
    "Moments",
    "NeighboursStructure",
    "Numbers",
    "NumpyKernels",
    "Part",
    "Plan",
    "PolynomialSumStructure",
    "Population",
    "Ranged",
    "Sides",
    "SparseExamples",
    "SparseImportances",
    "SparseValues",
    "Splits",
    "StackedStructure",
    "Stages",
    "Step",
    "Structure",
    "Subject",
    "SumStructure",
    "SurveyedGame",
    "Table",
    "Tensor",
    "Term",
    "Texts",
    "Tree",
    "TreeStructure",
    "Vocabulary",
    "WrapperReader",
}


def test_every_kind_is_there_and_every_class_has_a_kind():
    """The table names what exists, and each class of the rooms is in it or known as never saved."""
    for place in KINDS.values():
        module, name = place.split(":")
        assert callable(getattr(import_module(module), name))
    classes = set()
    for room in ("rows", "shapley", "structures", "engines"):
        for file in (ROOT / "service" / room).rglob("*.py"):
            for node in ast.parse(file.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    classes.add(node.name)
    assert classes - set(KINDS) == NEVER_SAVED


class NamesRead(pickle.Unpickler):
    """Notes which of our own names a pickle asks for."""

    def __init__(self, content):
        super().__init__(io.BytesIO(content))
        self.names = set()

    def find_class(self, module, name):
        if module.startswith("service"):
            self.names.add(f"{module}.{name}")
        return super().find_class(module, name)


MODELS = {
    "linear": LinearRegression(),
    "tree": RandomForestRegressor(5, random_state=0),
    "product": SVR(),
    "polynomial": KernelRidge(kernel="poly"),
    "polynomial of terms": make_pipeline(PolynomialFeatures(), Ridge()),
    "sum": VotingRegressor([("a", SVR()), ("b", Ridge())]),
    "kernel/linear": LogisticRegression(),
    "kernel/tree": GradientBoostingClassifier(n_estimators=5),
    "kernel/product": CalibratedClassifierCV(SVC(), ensemble=False),
    "kernel/network": MLPClassifier(max_iter=5),
    "kernel": KNeighborsClassifier(metric="chebyshev"),
}


@pytest.fixture(scope="module")
def data():
    return make_classification(80, 4, n_informative=3, n_redundant=0, random_state=0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("method", MODELS)
def test_a_pickle_names_one_function_of_ours_and_gives_the_same_bytes(method, data):
    """For every engine, by pickle and by joblib: only `rebuild` is named; the numbers are kept."""
    X, y = data
    model = MODELS[method].fit(X, y)
    output = "probability" if method in ("kernel/linear", "kernel/tree") else "auto"
    explainer = KernelScoringExplainer(TabularExplainer(model, X, output=output))
    assert explainer.method == method.removesuffix(" of terms")
    expected = explainer.explain_rows(X[:3])
    content = pickle.dumps(explainer)
    reader = NamesRead(content)
    reader.load()
    assert reader.names == {"service.scoring.stored_form.rebuild"}
    buffer = io.BytesIO()
    joblib.dump(explainer, buffer)
    assert buffer.getvalue().count(b"service.") == content.count(b"service.") == 1
    buffer.seek(0)
    for again in (pickle.loads(content), joblib.load(buffer)):
        result = again.explain_rows(X[:3])
        assert result.values.tobytes() == expected.values.tobytes()


def test_preprocessing_is_stored_in_the_same_form(data):
    """A pipeline of encoders that is looked through: its parts are plain as well."""
    X, y = data
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["colour"] = pd.Series(["red", "green"])[np.arange(len(X)) % 2].to_numpy()
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["colour"]), remainder=StandardScaler()
    )
    model = make_pipeline(encode, LogisticRegression()).fit(frame, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, frame, output="probability"))
    assert explainer.method == "kernel/linear"
    content = pickle.dumps(explainer)
    assert content.count(b"service.") == 1
    expected = explainer.explain_rows(frame[:2]).values
    assert pickle.loads(content).explain_rows(frame[:2]).values.tobytes() == expected.tobytes()


def test_what_stands_in_two_places_is_one_object_again():
    """Identity is kept, since caches go by it; a dictionary may have a "kind" of its own."""
    background = Background.uniform(np.zeros((2, 3)))
    own = {"kind": "Background", "state": 1}
    twice = rebuild(take_apart({"a": background, "b": [background, own], "c": own}))
    assert twice["a"] is twice["b"][0]
    assert type(twice["a"]) is Background
    assert twice["a"].kind == "whole"
    assert twice["b"][1] == own
    assert twice["c"] is twice["b"][1]


def test_a_kind_of_a_newer_version_is_refused():
    """An unknown kind is no object of ours."""
    with pytest.raises(KeyError, match="Newer"):
        rebuild({"kind": "Newer", "state": {"a": 1}})


def test_what_a_users_function_was_given_is_left_alone(data):
    """Even another scoring explainer, or a list that holds itself."""
    X, y = data
    inner = KernelScoringExplainer(TabularExplainer(LinearRegression().fit(X, y), X))
    rounds = [1]
    rounds.append(rounds)
    given = partial(sum_of, given={"inner": inner, "rounds": rounds})
    explainer = KernelScoringExplainer(TabularExplainer(given, X))
    again = pickle.loads(pickle.dumps(explainer))
    assert again.explain(X[:2]) == explainer.explain(X[:2])
    assert rebuild(take_apart({"of": inner}))["of"].explain(X[:2]) == inner.explain(X[:2])


def sum_of(rows, given):
    return rows.sum(axis=1) + len(given["rounds"])


WITHOUT_PYARROW = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Hidden())
from service.scoring import ScoringModel
for folder in sys.argv[1:]:
    model = ScoringModel.load(folder)
    model.self_check()
    print(model.schema.columns[0].dtype, model.example_answer.to_dict())
"""
TEXTS = pd.Series(["red", "blue", None] * 10)
KNOWN = TEXTS.fillna("green")  # scikit-learn's encoders take no NA among texts
KINDS_OF_TEXT = {
    "texts": TEXTS,
    "texts with NA": KNOWN.astype("string"),
    "texts of Arrow with NA": KNOWN.astype("string[pyarrow]"),
    "categories": TEXTS.astype("category"),
    "categories in order": pd.Series(pd.Categorical(TEXTS, ["red", "blue"], ordered=True)),
}


def test_a_model_of_texts_is_served_where_pyarrow_is_not(tmp_path):
    """pandas keeps texts by pyarrow where that is installed, and a pickle of them names it; columns
    of texts and of categories answer the same without.
    """
    expected = ""
    for name, texts in KINDS_OF_TEXT.items():
        rows = pd.DataFrame({"colour": texts, "size": np.arange(30.0)})
        encoder = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["colour"]), remainder="passthrough"
        )
        model = make_pipeline(encoder, Ridge()).fit(rows, np.arange(30) % 7)
        explainer = KernelScoringExplainer(TabularExplainer(model, rows))
        save(explainer, tmp_path / name, original_model=model)
        here = ScoringModel(model, explainer)
        here.self_check()
        expected += f"{here.schema.columns[0].dtype} {here.example_answer.to_dict()}\n"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYARROW, *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(expected.splitlines())
