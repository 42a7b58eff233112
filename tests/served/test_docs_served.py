"""What README.md and docs/ show of the service is what the service does.

Each console block that asks the service is run: its curl lines against a real one, in a folder as
`make serve` leaves it, with the port and the Python of this run in place of those on the page.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pandas as pd
import pytest
from doc_blocks import ROOT, all_blocks, commands_of, shows
from serving import OURS, free_port, serving, strict
from sklearn.linear_model import LinearRegression

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save

ADDRESS = "http://127.0.0.1:8080"  # as the pages have it
ASKED = [
    block
    for block in all_blocks("console")
    if "engine" not in block.words and re.search(r"^\$ .*(curl|-m service)", block.text, re.M)
]
SERVED = [block for block in all_blocks("console") if block.text.startswith("$ make serve")]


@pytest.fixture(scope="module")
def folder(breast_cancer, tmp_path_factory):
    """What `make serve` has made, with rows in a file and the same models under another name."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("artifacts", "my-models"):
        save(breast_cancer.scoring, folder / name, original_model=breast_cancer.model)
    (folder / "artifacts" / "examples.json").write_text(breast_cancer.rows.to_json())
    breast_cancer.rows.to_csv(folder / "rows.csv", index=False)
    shutil.copy(ROOT / "score.py", folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return folder


@pytest.fixture(scope="module")
def example(folder, tmp_path_factory):
    """The example, served."""
    models = str(folder / "artifacts")
    with serving(tmp_path_factory.mktemp("service"), AZUREML_MODEL_DIR=models) as running:
        yield running


@pytest.mark.parametrize("block", ASKED, ids=lambda block: block.name)
def test_the_service_answers_as_the_page_shows(block, example, folder):
    """Every command of the block ends well and prints what stands below it."""
    for command in commands_of(block):
        line = command.text.replace(ADDRESS, example.address)
        line = line.replace(".venv/bin/python", sys.executable)
        done = run(line, folder)
        assert shows(command.output, done), f"{command.text}\n{done}"


def run(line, folder):
    """Run a line of a page; a log may come on the standard error."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}"
    return done.stdout


def test_make_serve_prints_what_the_pages_show(folder):
    """README.md and the quickstart show what a real run prints, until it waits for Ctrl-C."""
    port = str(free_port())
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    server = subprocess.Popen(
        [sys.executable, "-m", "examples.serve"],
        cwd=copy_of_the_code(folder),
        env={**kept, "PORT": port, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = ""
    try:
        while "Ctrl-C" not in printed:
            line = server.stdout.readline()
            assert line, printed
            printed += line
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
        server.stdout.close()
    printed = printed.replace(f":{port}", ":8080")
    assert len(SERVED) == 2
    for block in SERVED:
        (command,) = commands_of(block)
        assert shows(command.output, printed), f"{block.name}\n{printed}"


def copy_of_the_code(folder):
    """Put beside the models what serving needs."""
    for name in ("service", "examples"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    shutil.copy(ROOT / "score.py", folder / "score.py")
    return folder


@pytest.fixture(scope="module")
def two_columns(tmp_path_factory):
    """A regression on the columns that the page about HTTP has in its bodies."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"age": rng.integers(20, 80, 60), "income": rng.normal(3000, 500, 60)})
    model = LinearRegression().fit(rows, rows["age"] * 2.0 + rows["income"])
    folder = tmp_path_factory.mktemp("two_columns")
    scoring = KernelScoringExplainer(TabularExplainer(model, rows))
    save(scoring, folder, exist_ok=True, original_model=model)
    with serving(tmp_path_factory.mktemp("service"), AZUREML_MODEL_DIR=str(folder)) as running:
        yield running


def test_bodies_of_rows_are_taken_in_each_shape(two_columns):
    """All shapes on the page hold the same two rows, and get the same answer."""
    bodies = [block.text for block in all_blocks("json") if block.words == ("rows",)]
    assert len(bodies) == 7
    answers = {two_columns.score(body).body for body in bodies}
    assert len(answers) == 1
    predictions = strict(answers.pop())["predictions"]
    assert np.allclose(predictions, [3298.5, 2222.0])


def test_the_body_with_tensors_is_answered(two_columns):
    """In the same rows, with the outputs that it asks for."""
    (block,) = [block for block in all_blocks("json") if block.words == ("infer",)]
    answer = two_columns.ask("POST", "/v2/models/model/infer", block.text).json()
    assert [output["name"] for output in answer["outputs"]] == [
        "predictions",
        "local_importance_values",
    ]
    assert np.allclose(answer["outputs"][0]["data"], [3298.5, 2222.0])


def test_a_line_of_the_log_has_the_fields_that_the_page_shows(example):
    """The page's line has the keys of a real one, in their order."""
    (block,) = [block for block in all_blocks("json") if block.words == ("log",)]
    example.score("[[1]]")
    requests = [line for line in example.log().splitlines() if '"service.access"' in line]
    assert list(json.loads(block.text)) == list(json.loads(requests[-1]))


def test_the_metrics_that_the_pages_name_exist(example, folder):
    """Those of the table and those of the query."""
    rows = (folder / "artifacts" / "examples.json").read_bytes()
    example.score(rows)
    with urllib.request.urlopen(f"{example.address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bscoring_[a-z_]+", page))
    assert len(named) > 8
    for name in named:
        assert re.search(rf"^{name}(_bucket)?[{{ ]", text, re.MULTILINE), name
