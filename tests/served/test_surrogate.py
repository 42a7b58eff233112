"""A surrogate of a model behind transformations, served: raw rows in, and nothing of LightGBM."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from raw_spellings import make_frame, one_hot
from serving import ROOT, errors_in, serving
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from service.explainers import LGBMExplainableModel, MimicExplainer
from service.scoring import KernelScoringExplainer, load, save

FRAME = make_frame(300)
LABELS = np.where(FRAME["age"] + 8 * (FRAME["town"] == "Bern") > 43, "dear", "cheap")
ABSENT = ("lightgbm", "torch")


@pytest.fixture(scope="module")
def made():
    """An explainer of a machine behind transformations, and the pipeline of both."""
    transformer = one_hot().fit(FRAME)
    machine = SVC(C=3.0).fit(transformer.transform(FRAME), LABELS)
    explainer = MimicExplainer(
        machine, FRAME, LGBMExplainableModel, transformations=transformer, random_state=0
    )
    return explainer, make_pipeline(transformer, machine)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("surrogate")
    explainer, whole = made
    save(KernelScoringExplainer(explainer), folder, exist_ok=True, original_model=whole)
    return folder


@pytest.fixture
def without(tmp_path):
    """A folder in which modules are found first that cannot be imported."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ABSENT:
        (hidden / f"{name}.py").write_text(f"raise ImportError('{name} is not here')\n")
    return str(hidden)


def test_raw_rows_are_scored_by_the_surrogate(made, folder, without, tmp_path):
    """By gunicorn where neither LightGBM nor torch can be imported; OpenAPI shows raw columns.

    That the service starts says that the self-check holds: the surrogate's example is compared with
    the model's answer less the residual.
    """
    explainer, whole = made
    rows = FRAME[5:9]  # one with a missing value among them
    with serving(tmp_path, AZUREML_MODEL_DIR=str(folder), PYTHONPATH=without) as service:
        answer = service.score(rows.to_json(double_precision=15)).json()
        expected = explainer.explain_local(rows).local_importance_values
        assert answer["local_importance_values"] == expected
        assert answer["predictions"] == whole.predict(rows).tolist()
        document = service.ask("GET", "/swagger.json").json()
        assert errors_in(service.log()) == []
    told = json.dumps(document)
    for name in FRAME.columns:
        assert f'"{name}"' in told
    assert "town_Bern" not in told


def test_another_model_is_told_apart_from_the_one_that_was_imitated(made, folder, tmp_path):
    """The residual that is recorded is that of its own model: none is saved beside another."""
    explainer, whole = made
    surrogate = json.loads((folder / "scoring_explainer.json").read_text())["surrogate"]
    assert np.abs(surrogate["example_residual"]).max() > 1e-6
    assert surrogate["fidelity"]["r2_hybrids"] > 0.9
    other = make_pipeline(whole[0], clone(whole[-1]).set_params(C=0.3))
    other.fit(FRAME, LABELS)
    with pytest.raises(ValueError, match="got Pipeline, which answers them otherwise"):
        save(KernelScoringExplainer(explainer), tmp_path / "other", original_model=other)


def test_importances_need_nothing_that_the_model_was_made_of(made, folder, without, tmp_path):
    """Loaded alone, without LightGBM, torch and the teacher's own module: the same bytes."""
    (tmp_path / "moved.pkl").write_bytes((folder / "scoring_explainer.pkl").read_bytes())
    rows = FRAME[5:9]
    script = (
        "import json, sys; sys.modules['sklearn.svm'] = None\n"
        "from service.scoring import load\n"
        f"explainer = load({str(tmp_path / 'moved.pkl')!r})\n"
        f"rows = explainer.read_rows({rows.to_json(double_precision=15)!r})\n"
        "print(json.dumps(explainer.explain(rows)))\n"
        f"assert not set({ABSENT!r}) & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": without},
        check=True,
        capture_output=True,
        text=True,
    )
    explainer, _ = made
    expected = explainer.explain_local(rows).local_importance_values
    assert json.loads(done.stdout) == expected == load(folder).explain(rows)
