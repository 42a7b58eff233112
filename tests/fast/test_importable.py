"""What is saved from a notebook must be loaded by a server; models without `predict` are served."""

import os
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from service.errors import ArtifactError
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel, load_original_model, save
from service.scoring.importable import find_unimportable
from service.scoring.request import ScoringRequest

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(40, 3))
NOTEBOOK = """
import warnings
from functools import partial
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save

def doubled(rows):
    return 2 * rows

def powers(rows, exponent):
    return rows ** exponent

class MyRidge(Ridge):
    pass

def row_sums(rows):
    return np.asarray(rows).sum(axis=1)

X = np.random.default_rng(0).normal(size=(8, 2))
models = [
    make_pipeline(FunctionTransformer(doubled), Ridge()),
    make_pipeline(FunctionTransformer(partial(powers, exponent=2)), Ridge()),
    MyRidge(),
    make_pipeline(FunctionTransformer(np.log1p), Ridge()),
]
models = [model.fit(np.abs(X), X[:, 0]) for model in models] + [row_sums]
for i, model in enumerate(models):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        explainer = KernelScoringExplainer(TabularExplainer(model, np.abs(X), surrogate=False))
        save(explainer, f"model-{i}", original_model=model)
    print(i, [str(warning.message) for warning in caught])
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """What a notebook prints, and the folder it has saved into."""
    folder = tmp_path_factory.mktemp("notebook")
    ran = subprocess.run(
        [sys.executable, "-"],
        input=NOTEBOOK,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return folder, ran.stdout.splitlines()


@pytest.mark.parametrize(
    ("i", "name"), [(0, "doubled"), (1, "powers"), (2, "MyRidge"), (4, "row_sums")]
)
def test_objects_of_a_notebook_are_named_when_they_are_saved(notebook, i, name):
    """With the cure, while the notebook is still open; the server then says the same."""
    folder, said = notebook
    assert (
        f"the model holds {name} of __main__, which only this notebook or script knows" in said[i]
    )
    assert "Put that into a module, a .py file on the server's Python path" in said[i]
    with pytest.raises(
        ArtifactError, match=r"was defined in the notebook or script .* move it into a module"
    ):
        load_original_model(folder / f"model-{i}")


def test_what_can_be_imported_is_saved_without_a_word(notebook):
    """Functions of numpy's, and models of libraries."""
    folder, said = notebook
    assert said[3] == "3 []"
    assert load_original_model(folder / "model-3").predict(np.abs(X[:2, :2])).shape == (2,)


def test_a_lambda_is_named_with_its_line(tmp_path):
    """It cannot be pickled at all; nothing is left behind."""
    model = make_pipeline(FunctionTransformer(lambda rows: rows), Ridge()).fit(X, X[:, 0])
    scoring = KernelScoringExplainer(TabularExplainer(make_ridge(), X))
    with pytest.raises(ArtifactError, match=r"define <lambda> of line \d+ of .*test_importable"):
        save(scoring, tmp_path / "new", original_model=model)
    assert not (tmp_path / "new").exists()


def make_ridge():
    return Ridge().fit(X, X[:, 0])


def test_each_object_is_named_once():
    """Wherever it stands in a model, however often."""

    class Local:
        pass

    found = find_unimportable([Local, {"a": Local}, partial(np.sum, axis=1), X, "text"])
    assert [name.split(" of ")[0] for name in found] == ["Local"]


class Probabilities:
    """A network's interface with `predict_proba` and nothing else."""

    def __init__(self, n_columns=2, **known):
        self.n_columns = n_columns
        self.__dict__.update(known)

    def predict_proba(self, rows):
        scores = np.exp(np.asarray(rows)[:, :1] * np.arange(max(2, self.n_columns)))
        shares = scores / scores.sum(axis=1, keepdims=True)
        return shares[:, 1] if self.n_columns == 1 else shares


@pytest.mark.parametrize(
    ("model", "predicted"),
    [
        (Probabilities(), [0, 1]),
        (Probabilities(3), [0, 2]),
        (Probabilities(1), [0, 1]),
        (Probabilities(classes_=np.array(["no", "yes"])), ["no", "yes"]),
        (Probabilities(1, classes_=np.array(["no", "yes"])), ["no", "yes"]),
    ],
)
def test_probabilities_alone_are_explained_saved_and_served(model, predicted, tmp_path):
    """The most probable class is predicted."""
    rows = np.array([[-1.0, 0.3, 0.2], [2.0, -0.1, 0.4]])
    scoring = KernelScoringExplainer(TabularExplainer(model, X[:10]))
    assert scoring.output == "probability"
    save(scoring, tmp_path / "saved", original_model=model)
    served = ScoringModel.load(tmp_path / "saved")
    served.self_check()
    answer = served.score(rows.tolist(), ScoringRequest(probabilities=True, top_k=1))
    assert answer["predictions"] == predicted
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows))
    values = np.array(answer["local_importance_values"])
    np.testing.assert_allclose(
        values.sum(axis=2).T + scoring.expected_values,
        model.predict_proba(rows).reshape(2, -1),
        rtol=0,
        atol=1e-12,
    )


def test_what_has_no_answer_is_refused(tmp_path):
    """Neither an estimator nor a function."""
    scoring = KernelScoringExplainer(TabularExplainer(make_ridge(), X))
    with pytest.raises(TypeError, match="expected an estimator with predict"):
        save(scoring, tmp_path / "new", original_model="model")


def test_a_model_of_a_library_is_saved_without_a_warning(tmp_path):
    """The search for objects of a notebook finds nothing in it."""
    model = LogisticRegression().fit(X, X[:, 0] > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(KernelScoringExplainer(TabularExplainer(model, X)), tmp_path, True)
