"""README.md and docs/ say what is so: each block is run or read, each path and target exists.

What needs a running service is in tests/served/test_docs_served.py, what needs a Docker Engine in
tests/docker/test_docs_docker.py.
"""

import doctest
import inspect
import re
import runpy
import shlex
import subprocess
import sys
from importlib import import_module

import pytest
import yaml
from doc_blocks import ROOT, all_blocks, blocks_of, commands_of, page_of, pages, shows
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deploy
import service.dashboard
import service.explainers
import service.runs
import service.scoring
from deploy.cli import parser
from deploy.configuration import configuration

PUBLIC = [service.explainers, service.scoring, service.runs, service.dashboard, deploy]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# What no test runs, with the page that says why.
NOT_RUN = {
    ("docs/deploying.md", "text"),
    ("docs/deploying.md", "python"),
    ("docs/operating.md", "promql"),
    ("docs/run-history.md", "text"),
}
LANGUAGES = {"python", "console", "json", "yaml", "text", "promql"}
# These need a Docker Engine, or are the name of a type: their examples are in the pages.
WITHOUT_EXAMPLE = {"deploy", "deploy_from_model", "Webservice", "JsonRows"}


def modules_with_examples():
    """Return the names of the modules whose docstrings show what comes of something."""
    found = []
    for package in ("service", "deploy"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if ">>> " in file.read_text(encoding="utf-8"):
                path = file.relative_to(ROOT).with_suffix("")
                found.append(".".join(path.parts).removesuffix(".__init__"))
    return found


@pytest.fixture(scope="module")
def prepared():
    """What the pages call `model`, `x_train`, `x_test`, `y_train`, `y_test`."""
    data = load_breast_cancer(as_frame=True)
    x_train, x_test, y_train, y_test = train_test_split(
        data.data, data.target, test_size=0.2, random_state=0
    )
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x_train, y_train)
    rows = {"x_train": x_train, "x_test": x_test}
    return {"model": model, **rows, "y_train": y_train, "y_test": y_test}


@pytest.mark.parametrize("page", pages(), ids=page_of)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, prepared, tmp_path, monkeypatch):
    """In one session, in an empty folder, with the answers that the page shows."""
    monkeypatch.chdir(tmp_path)
    names = {**prepared, "__name__": "page"}
    for block in blocks_of(page):
        if block.language != "python":
            continue
        if {"engine", "not-run"} & {*block.words}:
            compile(block.text, block.name, "exec")
        elif block.text.startswith(">>>"):
            run_doctest(block.text, names, block.name)
        else:
            exec(compile(block.text, block.name, "exec"), names)


def run_doctest(text, names, name):
    """Run examples in a namespace that they add to."""
    test = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    test.globs = names
    said = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, out=said.append, clear_globs=False)
    assert runner.tries > 0, name
    assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize("block", all_blocks("console"), ids=lambda block: block.name)
def test_the_commands_of_a_page_are_commands(block):
    """Targets of the Makefile exist, and verbs of deploy are parsed by deploy's own parser."""
    commands = commands_of(block)
    assert commands, block.name
    for command in commands:
        words = shlex.split(command.text.partition("|")[0], comments=True)
        while "=" in words[0]:  # NAME=value before the command
            del words[0]
        if words[0] == "make":
            assert words[1] in make_targets(), command.text
        elif words[:3] == ["python", "-m", "deploy"]:
            check_deploy(words[3:], command)
        else:
            ours = words[:2] == [".venv/bin/python", "-m"] and words[2].startswith("service")
            assert words[0] in ("curl", "echo") or ours


def check_deploy(arguments, command):
    """Run what asks no engine and shows an answer; parse the rest."""
    if not command.output:
        parser().parse_args(arguments)
        return
    line = command.text.replace("python", shlex.quote(sys.executable), 1)
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert shows(command.output, done.stdout), done.stdout


def make_targets():
    """Return the targets that `make` lists."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))


@pytest.mark.parametrize("page", pages(), ids=page_of)
def test_targets_and_paths_in_the_text_exist(page):
    """`make target`, files and folders in backticks, and relative links."""
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z-]+)", text))
    assert named <= make_targets()
    for path in re.findall(
        r"`((?:service|deploy|tests|docs|benchmarks|examples|tools|dockerfiles)/[\w./-]*)`", text
    ):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        is_generated = target.startswith("tutorials/")
        assert is_generated or (page.parent / target).exists(), target


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=lambda block: block.name)
def test_a_configuration_is_one(block):
    """Each YAML block is a deploy.yml that deploy takes."""
    assert block.words == ("deploy",), block.name
    assert configuration(yaml.safe_load(block.text)).name


@pytest.mark.parametrize("block", all_blocks("text"), ids=lambda block: block.name)
def test_a_map_names_what_exists(block):
    """The first word of each line of a map is a file or folder."""
    if "not-run" in block.words:
        return
    for line in block.text.splitlines():
        assert (ROOT / line.split()[0]).exists(), line


def test_what_is_not_run_is_listed_and_says_why():
    """Nothing else is left out, and every block has a language that some test knows."""
    every = [block for page in pages() for block in blocks_of(page)]
    assert {block.language for block in every} <= LANGUAGES
    left_out = [block for block in every if "not-run" in block.words]
    assert {(block.page, block.language) for block in left_out} == NOT_RUN
    assert len(left_out) == len(NOT_RUN)
    for block in left_out:
        assert "Not run by the tests:" in block.before, block.name


def test_the_readme_is_read_in_two_minutes():
    """At most 100 lines, with the command that runs the tests and a link to every page."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    assert "`make test`" in text
    for page in pages()[1:]:
        is_linked = f"docs/{page.name}" in text
        assert is_linked or page.name in ("index.md", "api.md"), page.name


@pytest.mark.parametrize("name", ["raw_features", "mimic", "permutation_importance"])
def test_a_tutorial_of_an_explainer_is_short(name):
    """Under sixty lines, so that it is read in one go."""
    lines = (ROOT / "examples" / f"{name}.py").read_text().splitlines()
    assert 20 < len(lines) < 60


def test_the_picture_is_drawn_from_the_example(breast_cancer, tmp_path, monkeypatch):
    """docs/picture.py draws what stands in the repository, but for the last digits."""
    save = service.scoring.save
    save(breast_cancer.scoring, tmp_path / "artifacts", original_model=breast_cancer.model)
    (tmp_path / "artifacts" / "examples.json").write_text(breast_cancer.rows.to_json())
    drawing = runpy.run_path(str(ROOT / "docs" / "picture.py"))
    drawing["main"].__globals__["FILE"] = tmp_path / "reasons.svg"
    monkeypatch.chdir(tmp_path)
    drawing["main"]()
    drawn = (tmp_path / "reasons.svg").read_text(encoding="utf-8")
    kept = (ROOT / "docs" / "images" / "reasons.svg").read_text(encoding="utf-8")
    digits = re.compile(r"[+-]?\d+\.\d+")
    assert digits.sub("#", drawn) == digits.sub("#", kept)
    pairs = list(zip(digits.findall(drawn), digits.findall(kept), strict=True))
    assert len(pairs) > 40
    for new, old in pairs:
        last_digit = 10.0 ** -len(old.partition(".")[2])
        assert abs(float(new) - float(old)) < 1.5 * last_digit, (new, old)


def test_each_formula_names_its_file_and_its_test():
    """Every section of the mathematics page with a formula has both, and both exist."""
    text = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert len(sections) > 10
    for section in sections:
        title = section.partition("\n")[0]
        files = re.findall(r"^- File: `(.+)`$", section, re.MULTILINE)
        tests = re.findall(r"^- Test: `(.+)::(\w+)`$", section, re.MULTILINE)
        assert title == "Sources" or (files and tests), title
        for file in files:
            assert (ROOT / file).is_file(), file
        for file, test in tests:
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_public_names_have_an_example(module):
    """Each class and function, but for errors and what needs an engine."""
    for name in module.__all__:
        thing = getattr(module, name)
        is_error = inspect.isclass(thing) and issubclass(thing, Exception)
        if not is_error and name not in WITHOUT_EXAMPLE:
            assert ">>>" in (inspect.getdoc(thing) or ""), f"{module.__name__}.{name}: no example"


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_docstrings_run(name, tmp_path, monkeypatch):
    """Of every module, public or not: what they show comes, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(import_module(name), optionflags=FLAGS).failed == 0


def test_every_public_name_is_in_the_reference():
    """docs/api.md names it."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for module in PUBLIC:
        for name in module.__all__:
            assert re.search(rf"\b{name}\b", text), f"{module.__name__}.{name}"
