import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from service.scoring import load

ROOT = Path(__file__).parents[2]


def run_example(module, folder, warnings="error"):
    """Run an example in an empty folder, as its own process, with the repository importable."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": warnings}
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def breast_cancer_artifacts(tmp_path_factory):
    """What the example of the documents saves."""
    folder = tmp_path_factory.mktemp("breast_cancer")
    run_example("examples.breast_cancer", folder)
    return folder / "artifacts"


@pytest.fixture(scope="module")
def diabetes_artifacts(tmp_path_factory):
    """What the example of a regression saves."""
    folder = tmp_path_factory.mktemp("diabetes")
    run_example("examples.diabetes_svr", folder)
    return folder / "artifacts-diabetes"


def test_the_example_of_a_surrogate_says_how_far_it_follows(tmp_path):
    """And what it saved explains rows."""
    told = run_example("examples.mimic", tmp_path)
    assert float(re.search(r"r2_hybrids +([\d.]+)", told).group(1)) > 0.9
    explainer = load(tmp_path / "artifacts-mimic")
    assert explainer.explain_rows([explainer.example]).values.shape == (2, 1, 4)


def test_the_example_of_permutations_ranks_raw_columns(tmp_path):
    """By each of its metrics."""
    told = run_example("examples.permutation_importance", tmp_path)
    assert told.count("bmi, s5, bp") == 2


def test_the_code_of_the_documents_runs_and_its_scoring_explainer_takes_raw_rows(tmp_path):
    """Nothing warns but the surrogate, of how far it follows; what was saved stands alone."""
    told = run_example(
        "examples.from_azureml_interpret", tmp_path, "error,ignore:MimicExplainer:UserWarning"
    )
    predicted = json.loads(told.splitlines()[-1].lower())
    explainer = load(tmp_path / "my_directory" / "scoring_explainer.pkl")
    assert explainer.features == ["town", "heating", "area", "built"]
    assert explainer.to_dict()["classes"] == ["cheap", "dear"]
    importances = explainer.explain_rows([explainer.example]).values
    assert np.ptp(importances) > 0.1
    assert set(predicted) == {True, False}


@pytest.mark.parametrize("example", ["breast_cancer", "diabetes"])
def test_each_example_trains_and_saves_what_the_service_needs(example, request):
    """It runs without a warning, and what it saved explains the rows that it saved."""
    folder = request.getfixturevalue(f"{example}_artifacts")
    assert {path.name for path in folder.iterdir()} == {
        "examples.json",
        "original_model.pkl",
        "scoring_explainer.json",
        "scoring_explainer.pkl",
    }
    explainer = load(folder)
    rows = explainer.read_rows((folder / "examples.json").read_text())
    assert np.ptp(explainer.explain(rows)) > 0.1


@pytest.fixture
def checkout(breast_cancer_artifacts, tmp_path):
    """The parts of the repository that serving needs, with trained artifacts."""
    for name in ("service", "examples", "score.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    shutil.copytree(breast_cancer_artifacts, tmp_path / "artifacts")
    return tmp_path


def test_serve_shows_predictions_with_reasons_and_stays_until_ctrl_c(checkout):
    """What `make serve` prints is what the service answers, its curl line works, and Ctrl-C ends it
    with code 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "PORT": port, "HOST": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
    serve = subprocess.Popen(
        [sys.executable, "-m", "examples.serve"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            line = serve.stdout.readline()
            assert line, f"serve ended early after: {printed}"
            printed += line
        curl = next(line for line in printed.splitlines() if "curl" in line).split()
        answer = json.loads(
            subprocess.run(curl, cwd=checkout, capture_output=True, check=True, timeout=60).stdout
        )
        importances = np.array(answer["local_importance_values"])
        assert importances.shape == (2, 4, 30)
        assert len(re.findall(r"row \d: [01] \((?:malignant|benign)\): \w+", printed)) == 4
        features = pd.read_json(checkout / "artifacts" / "examples.json").columns
        for row, label in enumerate(answer["predictions"]):
            line = next(line for line in printed.splitlines() if line.startswith(f"  row {row}:"))
            assert features[np.abs(importances[label, row]).argmax()] in line
    finally:
        serve.send_signal(signal.SIGINT)
        assert serve.wait(timeout=30) == 0
        serve.stdout.close()
