"""How the service starts, and what it says when it cannot: one sentence and an exit code, never a
loop.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from serving import OURS, ROOT, errors_in, free_port, loading, serving, start_in_vain, stop
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save
from service.settings import Settings, find_model_folder

pytestmark = pytest.mark.alone

MEMORY = Path("/dev/shm")


def command(*arguments, cwd=ROOT, **variables):
    """Run ``python -m service`` to its end."""
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=cwd,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def damaged(folder, name, to):
    """Copy a folder of models and flip one bit of one file."""
    shutil.copytree(folder, to)
    content = bytearray((to / name).read_bytes())
    content[len(content) // 2] ^= 1
    (to / name).write_bytes(content)
    return to


@pytest.fixture(scope="module")
def mismatched_folder(iris_model, iris, tmp_path_factory):
    """A scoring explainer beside the original model of somebody else, each whole and with its
    digest.
    """
    folder = tmp_path_factory.mktemp("mismatched")
    explainer = KernelScoringExplainer(TabularExplainer(iris_model, iris[::2]))
    other = DecisionTreeClassifier(random_state=0).fit(iris, 2 - load_iris().target)
    save(explainer, folder, exist_ok=True, original_model=other)
    return folder


@pytest.mark.parametrize("name", ["original_model.pkl", "scoring_explainer.pkl"])
def test_a_damaged_file_ends_the_start(name, iris_folder, tmp_path):
    """A flipped bit in either pickle: one sentence about the digest and a failure."""
    folder = damaged(iris_folder, name, tmp_path / "damaged")
    status, log = start_in_vain(tmp_path, AZUREML_MODEL_DIR=str(folder))

    assert status not in (0, None)
    sentence = errors_in(log)[0]
    assert f"{folder / name}: its SHA-256 is not the one in its manifest" in sentence


def test_a_model_that_is_not_the_explained_one_ends_the_start(mismatched_folder, tmp_path):
    """The self-check of the first request fails in every worker: they say so once each, and nothing
    starts again.
    """
    before = left_folders()
    status, log = start_in_vain(tmp_path, AZUREML_MODEL_DIR=str(mismatched_folder), WORKERS="2")

    assert status not in (0, None)
    assert (
        "expected the recorded example to be answered as when the explainer was built of the "
        "original model" in log
    )
    assert log.count("Booting worker") <= 2
    assert "Traceback" not in log
    assert left_folders() <= before


def left_folders():
    """The folders in memory whose process has ended; other services may run beside these tests."""
    folders = MEMORY.glob("scoring-metrics-*")
    left = {folder for folder in folders if not psutil.pid_exists(int(folder.name.split("-")[2]))}
    return {folder for folder in left if folder.exists()}


def test_a_start_in_vain_leaves_nothing_in_memory(tmp_path):
    """The folder of the metrics goes with the process, also when there was nothing to load."""
    before = left_folders()
    status, _ = start_in_vain(tmp_path, AZUREML_MODEL_DIR=str(tmp_path))
    assert status != 0
    assert left_folders() <= before


def test_sigterm_while_models_are_loaded_is_the_end(tmp_path):
    """Nothing is in flight: the process ends with 0 and leaves no folder in memory, whatever init()
    does meanwhile.
    """
    before = left_folders()
    with loading(tmp_path) as (process, _):
        assert stop(process) == 0
    assert left_folders() <= before


def test_check_says_with_its_exit_code_whether_the_models_work(
    iris_folder, mismatched_folder, tmp_path
):
    """0 and one line; 1 and one sentence; 2 for an option that it does not have."""
    folder = damaged(iris_folder, "scoring_explainer.pkl", tmp_path / "damaged")
    good = command("check", "--model_dir", str(iris_folder))
    swapped = command("check", AZUREML_MODEL_DIR=str(folder))
    mismatched = command("--model_dir", str(mismatched_folder), "check")

    assert (good.returncode, swapped.returncode, mismatched.returncode) == (0, 1, 1)
    assert f"{iris_folder}: 4 features" in good.stderr
    for wrong, why in ((swapped, "SHA-256"), (mismatched, "self-check")):
        (sentence,) = wrong.stderr.splitlines()
        assert why in sentence
    assert command("check", "--unknown").returncode == 2


def test_check_starts_the_service_as_it_will_run(iris_folder, tmp_path):
    """An entry script that does not get ready, or is named and not there, is a failure, although
    the models load.
    """
    script = tmp_path / "hangs.py"
    script.write_text("import time\ndef init(): time.sleep(600)\ndef run(_): pass\n")
    models = {"AZUREML_MODEL_DIR": str(iris_folder), "WORKERS": "1", "START_SECONDS": "2"}

    good = command("check", **models | {"START_SECONDS": "60"})
    hangs = command("check", **models, ENTRY_SCRIPT=str(script))
    without = command("check", **models, ENTRY_SCRIPT=str(tmp_path / "none.py"))

    assert (good.returncode, hangs.returncode, without.returncode) == (0, 1, 1)
    assert "The service starts; workers: 1." in good.stderr
    assert "the service does not start: Worker" in hangs.stderr
    assert "was not ready within 2 seconds" in hangs.stderr
    assert f"{iris_folder}: 4 features" in without.stderr
    assert "there is no entry script" in without.stderr


def test_check_without_a_script_is_one_of_the_models(iris_folder, tmp_path):
    """Where there are none, there is nothing to check, which is a failure."""
    models = command("check", cwd=tmp_path, AZUREML_MODEL_DIR=str(iris_folder))
    nothing = command("check", cwd=tmp_path, AZUREML_MODEL_DIR=str(tmp_path))

    assert (models.returncode, nothing.returncode) == (0, 1)
    assert "A start was not tried: there is no entry script" in models.stderr
    assert "no models of this service" in nothing.stderr


def test_check_starts_a_script_that_loads_models_of_its_own(tmp_path):
    """As those written for Azure ML do; without one the models are what is missing."""
    script = tmp_path / "own.py"
    script.write_text("def init(): pass\ndef run(_): return 1\n")
    nothing = {"AZUREML_MODEL_DIR": str(tmp_path), "WORKERS": "1"}

    good = command("check", **nothing, ENTRY_SCRIPT=str(script))
    ours = command("check", **nothing)

    assert good.returncode == 0
    assert "no models of this service" in good.stderr
    assert "The service starts" in good.stderr
    assert ours.returncode == 1
    assert "original_model.pkl" in ours.stderr


@pytest.mark.parametrize("arguments", [("score",), ("score", "nowhere.csv"), ("train",)])
def test_a_command_that_makes_no_sense_is_a_failure(arguments, iris_folder):
    """No file, a file that is not there, no such command: a sentence, no traceback."""
    wrong = command(*arguments, AZUREML_MODEL_DIR=str(iris_folder))
    assert wrong.returncode in (1, 2)
    assert wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_entry_scripts_and_libraries_find_an_environment_made_for_them(tmp_path, monkeypatch):
    """The folder of the models and limits on threads stand there; a limit that was set stays."""
    names = ("AZUREML_MODEL_DIR", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    script = tmp_path / "environment.py"
    script.write_text(
        f"import os\ndef init(): pass\ndef run(_): return [os.environ.get(n) for n in {names}]\n"
    )
    with serving(tmp_path, ENTRY_SCRIPT=str(script), WORKERS="1", OMP_NUM_THREADS="3") as service:
        found = service.score("[]").json()
    assert found == [str(find_model_folder()), str(Settings(workers=1).processors_each), "3", "1"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--http_port", "{port}", "--workers=1", "--model_dir", "{folder}",
         "--model_name", "iris", "--x"),
        ("--unknown", "value", "--http-port={port}", "--work", "7", "--workers", "1",
         "--model-dir={folder}", "--model-name=iris"),
    ],
    ids=["serve", "no command"],
)  # fmt: skip
def test_hosts_start_it_with_options_of_their_own(arguments, iris_folder, tmp_path, four_rows):
    """Port, workers, folder and name are taken from the command line in both spellings; what is
    unknown only warns.
    """
    port = free_port()
    words = [word.format(port=port, folder=iris_folder) for word in arguments]
    with serving(tmp_path, arguments=words, PORT=str(port), WORKERS="1") as service:
        assert service.ask("GET", "/v1/models").json() == {"models": ["iris"]}
        assert service.ask("POST", "/v1/models/iris:predict", four_rows.to_json()).status == 200
        log = service.log()
    assert log.count("Booting worker") == 1
    for word in {"--x", "--unknown", "value", "--work", "7"} & set(words):
        assert f"option {word} is not known here and has no effect" in log
