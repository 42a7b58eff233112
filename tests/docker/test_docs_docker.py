"""What README.md and docs/deploying.md show of deploying, on a real Docker Engine.

The blocks marked ``engine`` run in order, with the port, the name and the Python of this run in
place of those on the page.
"""

import os
import re
import subprocess
import sys

import pytest
import yaml
from deploy_helpers import BASE, ROOT, clean, connect, free_port, make_project
from doc_blocks import all_blocks, commands_of, shows

pytestmark = pytest.mark.engine
NAME = f"docs-{os.getpid()}"
PATIENT = {"timeouts": {"ready": 300}}  # the machine may be busy


@pytest.fixture(scope="module")
def engine():
    engine = connect()
    clean(engine, NAME)
    yield engine
    clean(engine, NAME)
    engine.close()


@pytest.fixture(scope="module")
def project(engine, breast_cancer, tmp_path_factory):
    """A checkout with the example's models, and a deploy.yml that keeps to itself."""
    folder = make_project(tmp_path_factory.mktemp("checkout"), breast_cancer)
    settings = {"name": NAME, "port": free_port(), "base_image": BASE, "dockerfile": "", **PATIENT}
    (folder / "deploy.yml").write_text(yaml.safe_dump(settings))
    return folder, settings["port"]


def test_the_verbs_print_what_the_pages_show(project):
    """In the order of the page about deploying, to the end of the service, then README.md's."""
    folder, port = project
    blocks = [block for block in all_blocks("console") if "engine" in block.words]
    blocks.sort(key=lambda block: block.page == "README.md")
    assert {block.page for block in blocks} == {"docs/deploying.md", "README.md"}
    for block in blocks:
        for command in commands_of(block):
            printed = (
                run(command.text, folder).replace(f":{port}", ":8080").replace(NAME, "scoring")
            )
            assert shows(command.output, printed), f"{command.text}\n{printed}"


def run(line, folder):
    """Run `[NAME=value] make verb [ARGS=...]` as the Makefile does."""
    form = r"((?:\w+=\S+ )*)make ([a-z]+)(?: ARGS=(\S+))?"
    settings, verb, arguments = re.fullmatch(form, line).groups(default="")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(rf"^{verb}:.*\n\t@\$\(BIN\)/python (-m deploy .*)$", makefile, re.M)[1]
    words = recipe.replace("$(ROWS)", "artifacts/examples.json").replace("$(ARGS)", arguments)
    done = subprocess.run(
        ["bash", "-c", f"{settings}{sys.executable} {words}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}"
    return done.stdout


def test_the_python_of_the_page_deploys(project, breast_cancer, monkeypatch):
    """Its last expression is the answer; the name, port and base image are those of this run."""
    folder, port = project
    monkeypatch.chdir(folder)
    (block,) = [block for block in all_blocks("python") if "engine" in block.words]
    more = f'port={port}, base_image="{BASE}", dockerfile="", **{PATIENT}, tags='
    text = block.text.replace('"scoring"', f'"{NAME}"').replace("tags=", more)
    names = {"rows": breast_cancer.rows.to_json()}
    exec(compile(text, block.name, "exec"), names)
    service = names["service"]
    try:
        assert service.state == "Healthy"
        assert service.run(names["rows"])["predictions"] == [1, 1, 1, 0]
        for name in ("scoring_uri", "state", "get_logs", "get_keys", "update", "rollback"):
            assert hasattr(type(service), name)
    finally:
        service.delete()
        service.close()
