"""What `deploy` knows of the service, held against the service and against the image's recipe.

Neither package imports the other: this is where they meet.
"""

import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from deploy import contract
from deploy.configuration import CHECKS, Timeouts, Tls, configuration
from deploy.contract import VARIABLES
from deploy.errors import ConfigurationError
from deploy.host import specs as host_specs
from deploy.image.application import DEPLOY
from deploy.image.context import answer_here, needs_shap
from deploy.image.recipe import DOCKERFILE
from deploy.registry.origin import Origin, to_file
from deploy.release import probe
from deploy.release import specs as release_specs
from deploy.release.preflight import readable
from service.explainers import TabularExplainer
from service.model_origin import FORMAT, ORIGIN_FILE, read_origins
from service.scoring import KernelScoringExplainer, save
from service.settings import Settings, SettingsError
from service.web.logs import ACCESS, JsonLines

ROOT = Path(__file__).parents[2]
SETTINGS = [setting.metadata["variables"] for setting in fields(Settings)]
KNOWN_TO_THE_SERVICE = set().union(*SETTINGS)
EVERYTHING = configuration(
    {
        "name": "scoring",
        "workers": 2,
        "threads": 8,
        "auth_enabled": True,
        "tls": {"certificate": "tls.crt", "key": "tls.key"},
    }
)
RECIPE = DOCKERFILE.read_text(encoding="utf-8")
INSTRUCTION = re.search(r"\nENV ((?:.*\\\n)*.*)\n", RECIPE)
SET_BY_THE_RECIPE = set(re.findall(r"([A-Z_]+)=", INSTRUCTION[1]))
SET_BY_DEPLOY = {
    *release_specs.environment(EVERYTHING, 9001),
    host_specs.BORROWED,
    host_specs.SHARED,
}
ROWS = np.random.default_rng(0).normal(size=(8, 3))


@pytest.fixture
def linear_model():
    """A model whose explainer takes no time to make."""
    return LinearRegression().fit(ROWS, ROWS @ [1.0, 2.0, 3.0])


def run(script, **environment):
    """Run Python in a process of its own with none of the service's variables but these."""
    others = {name: value for name, value in os.environ.items() if name not in KNOWN_TO_THE_SERVICE}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**others, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_deploy_sets_variables_that_the_service_reads():
    """Each by its name; where the models lie is said by the recipe."""
    assert SET_BY_DEPLOY <= KNOWN_TO_THE_SERVICE
    of_the_image = {"AZUREML_MODEL_DIR", "ENTRY_SCRIPT", "HOST"}
    assert of_the_image == SET_BY_THE_RECIPE & KNOWN_TO_THE_SERVICE


def test_the_table_has_every_variable_that_deploy_sets_and_no_other():
    """By any name that the service has for it, and those of the recipe."""
    expected = SET_BY_DEPLOY | SET_BY_THE_RECIPE
    for names in SETTINGS:
        if expected & {*names}:
            expected |= {*names}
    assert set(VARIABLES) == expected


def test_the_keys_that_the_table_names_are_there():
    """In deploy.yml, with those of its groups."""
    groups = {"tls": Tls, "timeouts": Timeouts}
    nested = {f"{key}.{item.name}" for key, kind in groups.items() for item in fields(kind)}
    assert set(VARIABLES.values()) - {""} <= CHECKS.keys() | nested


@pytest.mark.parametrize("name", VARIABLES)
def test_what_deploy_sets_is_refused_in_env(name):
    """In one sentence that names the key to use, whatever the case of its letters."""
    key = VARIABLES[name]
    advice = f"use `{key}` of deploy.yml" if key else "leave it out, there is no key for it"
    with pytest.raises(ConfigurationError) as refusal:
        configuration({"name": "scoring", "env": {name: "1"}})
    assert str(refusal.value) == (f"deploy.yml: env.{name}: set by the deployment itself; {advice}")
    with pytest.raises(ConfigurationError) as refusal:
        configuration({"name": "scoring", "env": {name.lower(): "1"}})
    assert str(refusal.value) == (
        f"deploy.yml: env.{name.lower()}: {name} is set by the deployment itself; {advice}"
    )


@pytest.mark.parametrize("name", sorted(KNOWN_TO_THE_SERVICE - VARIABLES.keys()))
def test_every_other_setting_of_the_service_is_free(name):
    """It reaches the service as it is."""
    config = configuration({"name": "scoring", "env": {name: "1"}})
    assert release_specs.environment(config, 9001)[name] == "1"


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("WORKERS", contract.MOST_WORKERS, contract.MOST_WORKERS + 1),
        ("THREADS", contract.FEWEST_THREADS, contract.FEWEST_THREADS - 1),
    ],
)
def test_the_service_takes_as_much_as_deploy_lets_through(name, accepted, refused):
    """And not one more or less: what it would refuse is refused before."""
    Settings.from_environment({name: str(accepted)})
    configuration({"name": "scoring", name.lower(): accepted})
    with pytest.raises(SettingsError):
        Settings.from_environment({name: str(refused)})
    with pytest.raises(ConfigurationError):
        configuration({"name": "scoring", name.lower(): refused})


@pytest.mark.parametrize("drain", [1, contract.MOST_DRAIN_SECONDS])
def test_gunicorn_does_what_deploy_says(drain):
    """It listens on both ports, shares them, and has ended before the engine would kill it."""
    script = (
        "import json; from service.server import gunicorn_conf as c;"
        "print(json.dumps([c.bind, c.reuse_port, c.workers, c.threads, c.graceful_timeout]))"
    )
    environment = release_specs.environment(EVERYTHING, contract.PROBE_PORT)
    files = [name for name in environment if name.endswith("_FILE")]
    assert len(files) == 3
    for name in files:  # they are there in a container only
        del environment[name]
    environment["DRAIN_SECONDS"] = str(drain)
    bind, shares, workers, threads, grace = run(script, **environment)
    assert bind == [f"0.0.0.0:{contract.SERVICE_PORT}", f"0.0.0.0:{contract.PROBE_PORT}"]
    assert (shares, workers, threads) == (True, 2, 8)
    assert drain + grace <= 30 < contract.STOP_SECONDS


def test_the_service_answers_where_deploy_asks(linear_model, tmp_path):
    """Readiness, liveness, scores; and what may be sampled is called as the probe calls it."""
    save(
        KernelScoringExplainer(TabularExplainer(linear_model, ROWS)),
        tmp_path,
        exist_ok=True,
        original_model=linear_model,
    )
    routes = [contract.READY_ROUTE, contract.LIVE_ROUTE, contract.METRICS_ROUTE]
    script = f"""
import json
from {contract.APPLICATION_MODULE} import {contract.APPLICATION_FACTORY}
client = {contract.APPLICATION_FACTORY}().test_client()
statuses = [client.get(route).status_code for route in {routes}]
answer = client.post("{contract.SCORE_ROUTE}?standard_errors=true", data="{ROWS[:1].tolist()}")
print(json.dumps([statuses, answer.json]))
"""
    statuses, answer = run(
        script, ENTRY_SCRIPT=str(ROOT / "score.py"), AZUREML_MODEL_DIR=str(tmp_path)
    )
    assert statuses == [200, 200, 200]
    assert set(answer) == {"predictions", *probe.ROUNDING_OF}


def test_the_expected_answer_is_the_services_own():
    """From the application that the image runs, whatever the entry script prints."""
    files = (DEPLOY.parent / "service").rglob("*.py")
    app = {str(file.relative_to(DEPLOY.parent)): file.read_bytes() for file in files}
    app["score.py"] = b"def init(): print('not it')\ndef run(raw_data): return [raw_data, 1.5]\n"
    config = configuration({"name": "scoring"})
    assert json.loads(answer_here(config, app, b'{"x": 1}')) == ['{"x": 1}', 1.5]


def test_the_probe_asks_what_the_table_says():
    """It is alone in the image, so it repeats what it needs."""
    assert probe.READY_ROUTE == contract.READY_ROUTE
    assert probe.SCORE_ROUTE == contract.SCORE_ROUTE
    source = Path(probe.__file__).read_text(encoding="utf-8")
    asked = set(re.findall(r"os\.environ(?:\.get\(|\[)['\"]([A-Z_]+)", source))
    assert asked == {"PROBE_PORT", "TLS_CERT_FILE", "AUTH_KEYS_FILE"} <= SET_BY_DEPLOY


def test_a_person_reads_what_the_service_logs():
    """An event and its traceback; the lines of answered requests are known by their logger."""
    formatter = JsonLines()
    record = logging.makeLogRecord({"name": "service.web", "levelname": "ERROR", "msg": "no luck"})
    try:
        raise KeyError("age")
    except KeyError:
        record.exc_info = sys.exc_info()
    lines = readable([formatter.format(record)])
    assert lines[0] == "error: no luck"
    assert lines[-1] == "KeyError: 'age'"
    assert ACCESS.name == contract.ACCESS_LOGGER
    request = logging.makeLogRecord({"name": ACCESS.name, "levelname": "INFO", "msg": "request"})
    assert readable([formatter.format(request)]) == []


@pytest.mark.parametrize(("engine", "needed"), [("auto", False), ("shap", True)])
def test_the_manifest_says_whether_shap_is_needed(engine, needed, linear_model, tmp_path):
    """As the service writes it."""
    explainer = TabularExplainer(linear_model, ROWS, engine=engine)
    save(KernelScoringExplainer(explainer), tmp_path, exist_ok=True)
    manifests = {f"models/{file.name}": file.read_bytes() for file in tmp_path.glob("*.json")}
    assert len(manifests) == 1
    assert needs_shap(manifests) == needed


def test_the_recipe_puts_things_where_deploy_looks_for_them():
    """The application, its models, the hash of its content, the probe's Python, the port."""
    assert f"COPY app {contract.APP_FOLDER}\n" in RECIPE
    assert f'ARG MODEL_FOLDER="{contract.APP_FOLDER}/{contract.MODELS_FOLDER}"\n' in RECIPE
    assert f'ENTRY_SCRIPT="{contract.APP_FOLDER}/${{ENTRY_SCRIPT}}" ' in RECIPE
    assert f'ENTRYPOINT ["{contract.PROBE[0]}", "-m", "service"]\n' in RECIPE
    assert f"> {contract.CONTENT_HASH}\n" in RECIPE
    assert f"{contract.PROBE[0]} -m compileall" in RECIPE
    assert f"\nEXPOSE {contract.SERVICE_PORT}\n" in RECIPE
    assert f"\nWORKDIR {contract.APP_FOLDER}\n" in RECIPE


def test_the_service_reads_what_the_deployment_writes_of_registered_models(tmp_path):
    """One file of one format, and every fact of it."""
    origin = Origin(
        "models:/a/3", "a", "3", "run", "https://runs.example", "e", "a.pkl", {"b": "0"}
    )
    assert (contract.ORIGIN_FILE, contract.ORIGIN_FORMAT) == (ORIGIN_FILE, FORMAT)
    (tmp_path / contract.ORIGIN_FILE).write_bytes(to_file([origin]))
    [read] = read_origins(tmp_path)
    assert vars(read) == vars(origin)
    (tmp_path / contract.ORIGIN_FILE).write_text('{"models": "of somebody else"}')
    assert read_origins(tmp_path) == ()
