"""The image on a real engine: run by each host in its own way, with all that its libraries load,
and refused with the key that would help.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_network

import joblib
import pandas as pd
import pytest
from deploy_helpers import ROOT, Deployment, clean, connect, free_port, get
from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV

from deploy.client import score
from deploy.errors import RefusedError, RequestFailedError
from deploy.image import pins
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save

pytestmark = pytest.mark.engine

# What a script does at start is told by its environment, and in the container only: one image.
SCRIPT = """
import ctypes, os, shutil, traceback, urllib.request
def fetch():
    urllib.request.urlopen(os.environ["URL"], timeout=5).read()
def fill():
    with open("/tmp/cache", "ab") as file:
        file.write(bytes(100 * 2**20))
def load():
    ctypes.CDLL(shutil.copy("/lib/x86_64-linux-gnu/libm.so.6", "/tmp/libmine.so"))
def need():
    ctypes.CDLL("libpq.so.5")
def init():
    failed = False
    if os.path.exists("/app/content.sha256"):
        for what in (fetch, load, need, fill):
            try:
                what()
            except OSError:
                failed = True
                traceback.print_exc()
    assert not failed
def run(raw_data):
    while raw_data == "[]":
        fill()
    return {"predictions": [1]}
"""


@pytest.fixture(scope="module")
def engine():
    engine = connect()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A search over models of LightGBM, whose library loads libgomp1 from Debian, and its lock."""
    folder = tmp_path_factory.mktemp("project")
    data = load_breast_cancer(as_frame=True)
    rows, labels = data.data.iloc[:200, :6], data.target[:200]
    model = GridSearchCV(LGBMClassifier(n_estimators=5, verbose=-1), {"num_leaves": [3, 7]}, cv=2)
    explainer = TabularExplainer(model.fit(rows, labels), rows)
    save(KernelScoringExplainer(explainer), folder / "artifacts", original_model=model)
    (folder / "artifacts" / "examples.json").write_text(rows[:4].to_json(orient="records"))
    shutil.copy(ROOT / "score.py", folder)
    (folder / "doing.py").write_text(SCRIPT)
    every = pins.pins((ROOT / "requirements-dev.lock").read_text())
    (lightgbm,) = filter(lambda pin: pin.name == "lightgbm", every)
    lock = (ROOT / "requirements.lock").read_text()
    (folder / "requirements.lock").write_text(lock + lightgbm.text)
    return folder


@contextmanager
def deployed(engine, project, name, **settings):
    """Have a deployment under a name, and take it away afterwards."""
    made = Deployment(engine, project, f"{name}-{os.getpid()}", dockerfile="", **settings)
    clean(engine, made.name)
    try:
        yield made
    finally:
        clean(engine, made.name)


@pytest.fixture(scope="module")
def served(engine, project):
    """The model of LightGBM as it is deployed, with nothing in deploy.yml that says so."""
    with deployed(engine, project, "lightgbm") as made:
        made.up()
        yield made


@pytest.fixture(scope="module")
def image(served):
    """The image of it, to be run by others."""
    return served.serving().image


@pytest.fixture(scope="module")
def doing(engine, project):
    """A deployment whose script wants more than a container gives it by default."""
    with deployed(engine, project, "doing", entry_script="doing.py", models=[]) as made:
        yield made


def test_a_model_of_lightgbm_is_deployed_as_it_is(served, project):
    """It answers as it does here."""
    model = joblib.load(project / "artifacts" / "original_model.pkl")
    body = (project / "artifacts" / "examples.json").read_bytes()
    answer = json.loads(score(served.config(), body))
    assert answer["predictions"] == model.predict(pd.DataFrame(json.loads(body))).tolist()


@pytest.mark.parametrize(
    ("options", "words", "port"),
    [
        ([], [], 8080),
        ([], ["--model_name=tumours", "--http_port=9090"], 9090),
        (["--env", "PORT=9090"], [], 9090),
        (["--env", "SAGEMAKER_BIND_TO_PORT=9090"], ["serve"], 9090),
        (["--user=1000650000:0", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"], [], 8080),
    ],
    ids=["docker", "kserve", "cloud-run", "sagemaker", "openshift"],
)
def test_every_host_runs_the_image_in_its_own_way(image, project, options, words, port):
    """With no flag of ours: it answers on the published port with its own script and models."""
    published = free_port()
    with running(image, [*options, "--publish", f"127.0.0.1:{published}:{port}"], words):
        wait_for(published, "/ping")
        assert json.loads(get(published, "/v1/models")[1])["models"] == [
            "tumours" if "--model_name=tumours" in words else "model"
        ]
        body = (project / "artifacts" / "examples.json").read_bytes()
        request = urllib.request.Request(f"http://127.0.0.1:{published}/score", body)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert set(json.loads(answer.read())) == {"predictions", "local_importance_values"}


@contextmanager
def running(image, options, words):
    """Run an image as a host does, and take the container away."""
    container = docker("run", "--detach", *options, image, *words).stdout.strip()
    try:
        yield container
    except BaseException:
        print(docker("logs", container))
        raise
    finally:
        docker("rm", "--force", container)


def docker(*words, **options):
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done


def wait_for(port, path):
    deadline = time.monotonic() + 60
    while True:
        try:
            return get(port, path)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


ABSENT = """
import json, pathlib, sys
for file in json.load(sys.stdin):
    if not (pathlib.Path("{site}") / file).exists():
        print(file)
"""
INSTALLED = """
import importlib.metadata, json
found = importlib.metadata.distributions(path=["{site}"])
print(json.dumps({{one.name: one.version for one in found}}))
"""


def test_what_pip_installs_is_there(image):
    """Every file that the same version of a package has here, as pip has listed it, but for tests
    and sources of five that are known, numpy's builder, and the lists themselves.
    """
    (site,) = docker(
        *("run", "--rm", "--entrypoint", "/bin/sh", image, "-c"),
        "echo /opt/venv/lib/python3*/site-packages",
    ).stdout.split()
    python = ["run", "--rm", "-i", "--entrypoint", "/opt/venv/bin/python", image, "-c"]
    installed = json.loads(docker(*python, INSTALLED.format(site=site)).stdout)
    files = []
    for name, version in installed.items():
        here = importlib.metadata.distribution(name)
        assert here.version == version, name
        files += [str(file) for file in here.files if file.suffix != ".pyc"]
    assert len(files) > 4000
    absent = docker(*python, ABSENT.format(site=site), input=json.dumps(files)).stdout.split("\n")
    known = re.compile(
        r"(numpy|pandas|scipy|sklearn|joblib)/(.*/)?(tests?/.*|.*\.(pyi|pyx|pxd|pxi|tp|build|h|hpp|a))"
        r"|numpy/distutils/.*|[^/]*\.dist-info/RECORD|"
    )
    assert [file for file in absent if not known.fullmatch(file)] == []
    packages = {file.split("/")[0] for file in absent}
    assert packages >= {"numpy", "pandas", "scipy", "sklearn", "joblib"}


def test_a_refusal_names_the_keys_that_help(doing):
    """Of all that the last words are about."""
    with pytest.raises(RefusedError) as refusal:
        doing.up(env={"URL": "http://192.0.2.1/"})
    lines = str(refusal.value).splitlines()
    assert lines[0].endswith("GB; no network, unless `preflight_network: true`)")
    assert lines[-5:] == [
        "libpq.so.5 is not in the image: name the Debian package that has it under `packages`.",
        "/tmp, which is HOME too, has room for 64 MB: `scratch_mb` gives it more.",
        "Nothing in /tmp can be started or loaded: `scratch_exec: true` allows it.",
        "It was proven without a network: `preflight_network: true` gives it one.",
        "What serves was not touched. Mend the release and deploy again.",
    ]


class Fetched(BaseHTTPRequestHandler):
    """Answers whoever asks."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_with_the_keys_that_were_named_it_serves(doing):
    """Until its folder is full: the request that fails says so in the log, and the service goes
    on.
    """
    [config] = doing.engine.api.inspect_network("bridge")["IPAM"]["Config"]
    # An engine that made its bridge in this very start names no gateway: it is the first address.
    gateway = config.get("Gateway", str(ip_network(config["Subnet"])[1]))
    keys = {"preflight_network": True, "packages": ["libpq5"]}
    keys |= {"scratch_mb": 200, "scratch_exec": True, "workers": 1}
    with HTTPServer((gateway, 0), Fetched) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = doing.up(env={"URL": f"http://{gateway}:{server.server_port}/"}, **keys)
        server.shutdown()
    with pytest.raises(RequestFailedError, match="500"):
        score(made.config, b"[]")
    (said,) = map("\n".join, doing.logs(200).values())
    assert "No room is left to write: /tmp has 200 MB, of which 0 are free." in said
    assert "`scratch_mb` of deploy.yml gives more room" in said
    assert json.loads(score(made.config, b"[[1]]")) == {"predictions": [1]}


def test_an_image_without_models_takes_those_of_its_host(doing, project):
    """From where SageMaker puts them, for one."""
    image = doing.build(doing.config()).image
    asking = (
        "from service.settings import Settings; print(Settings.from_environment().model_folder)"
    )
    mounted = ["--volume", f"{project / 'artifacts'}:/opt/ml/model:ro", "--entrypoint", "python"]
    assert docker("run", "--rm", *mounted, image, "-c", asking).stdout == "/opt/ml/model\n"
