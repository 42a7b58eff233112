"""The wheel, installed where there is no checkout: what `pip install` gives.

A virtual environment of its own holds the wheel alone; the dependencies are those of the
environment that runs the tests.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from serving import OURS, ROOT, Service, free_port, stop

from service.scoring import load, save

SOURCES = ("service", "deploy", "dockerfiles", "native")


def run(*command, folder):
    """Run a command in a folder and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built from a copy, so that nothing is left in it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        without_bytecode = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / name, folder / name, ignore=without_bytecode)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run(*pip, "--wheel-dir", folder / "dist", ".", folder=folder)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel in a fresh virtual environment, and an empty folder to run it from."""
    venv = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", venv, folder=venv)
    python = venv / "bin" / "python"
    get_folder = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", get_folder, folder=venv).strip())
    # Of a folder named like this the packages are seen, but not what is installed as editable.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    run(*pip, wheel, folder=venv)
    return SimpleNamespace(
        bin=venv / "bin", packages=packages, folder=tmp_path_factory.mktemp("empty")
    )


def test_a_wheel_holds_every_file_of_its_packages(wheel):
    """Code and what lies beside it; neither tests nor examples."""
    sources = [path for name in SOURCES for path in (ROOT / name).rglob("*") if path.is_file()]
    made_here = re.compile(r".*(/__pycache__/.*|\.so)")
    expected = {str(path.relative_to(ROOT)) for path in sources}
    expected = {name for name in expected if not made_here.fullmatch(name)}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    (compiled,) = names - expected

    assert expected < names
    assert re.fullmatch(r"service/shapley/kernels/compiled\..*so", compiled)


def test_an_installed_wheel_computes_in_its_compiled_kernels(installed):
    """The library comes in the wheel, and is found where that was installed."""
    said = run(installed.bin / "python", "-m", "service.shapley.kernels", folder=installed.folder)

    assert said.startswith("The kernels are compiled")


def test_the_public_names_are_those_of_the_installed_package(installed):
    """They come from the installed packages, not from a checkout."""
    code = (
        "import json, service, deploy\n"
        "from service.explainers import TabularExplainer\n"
        "from service.scoring import KernelScoringExplainer, ScoringModel, save\n"
        "from deploy import Webservice, deploy_configuration\n"
        "print(json.dumps([service.__file__, deploy.__file__]))"
    )
    files = json.loads(run(installed.bin / "python", "-c", code, folder=installed.folder))

    assert files == [
        str(installed.packages / name / "__init__.py") for name in ("service", "deploy")
    ]


@pytest.fixture(scope="module")
def models(diabetes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "saved"
    save(diabetes.scoring, folder, original_model=diabetes.model)
    return folder


def test_the_service_checks_and_scores_from_anywhere(installed, models, diabetes, tmp_path):
    """`scoring-service` loads saved models and scores a file of rows."""
    rows, scored = tmp_path / "rows.jsonl", tmp_path / "scored.jsonl"
    diabetes.rows.to_json(rows, orient="records", lines=True)
    command = [installed.bin / "scoring-service", "--model_dir", models]

    run(*command, "check", folder=installed.folder)
    run(*command, "score", rows, "--output", scored, folder=installed.folder)

    answers = [json.loads(line) for line in scored.read_text(encoding="utf-8").splitlines()]
    predictions = [answer["prediction"] for answer in answers]
    importances = [answer["local_importance_values"] for answer in answers]
    assert predictions == diabetes.model.predict(diabetes.rows).tolist()
    assert importances == load(models).explain(diabetes.rows)


def test_the_service_serves_from_anywhere(installed, models, diabetes, tmp_path):
    """`scoring-service serve` needs the entry script and the models, and no checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    port = free_port()
    command = [installed.bin / "scoring-service", "--model_dir", models, "--http_port", str(port)]
    shutil.copy(ROOT / "score.py", installed.folder)
    with (tmp_path / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--workers", "1"],
            cwd=installed.folder,
            env={**environment, "DRAIN_SECONDS": "0"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service = Service(process, port, tmp_path / "service.log")
    try:
        deadline = time.monotonic() + 60
        while not service.is_up(workers=1):
            assert time.monotonic() < deadline, service.log()
            time.sleep(0.05)
        answer = service.score(diabetes.rows.to_json()).json()
    finally:
        assert stop(process) == 0

    assert answer["predictions"] == diabetes.model.predict(diabetes.rows).tolist()


def test_the_recipe_of_an_image_is_installed(installed):
    """`scoring-deploy` builds images without a checkout."""
    (installed.folder / "deploy.yml").write_text("name: scoring\n")

    recipe = run(
        installed.bin / "scoring-deploy", "build", "--print-dockerfile", folder=installed.folder
    )

    assert "COPY requirements.lock" in recipe
