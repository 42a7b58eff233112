"""What `deploy` decides without an engine: configuration, context, request bodies, the probe, the
state.
"""

import ast
import json
import socket
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path

import pytest
import yaml

from deploy.client import curl, scoring_uri, seen_from_here
from deploy.configuration import CHECKS, Configuration, configuration, read
from deploy.console import Console
from deploy.engine.docker_engine import Engine
from deploy.engine.hardening import USER
from deploy.engine.labels import LABEL
from deploy.errors import ConfigurationError, UnreachableError
from deploy.host import port_keeper, specs
from deploy.image import context, pins, pip_settings
from deploy.image.application import application
from deploy.image.recipe import DOCKERFILE, FRAGMENT_MARK, dockerfile
from deploy.release import specs as release_specs
from deploy.release.advice import advice
from deploy.release.preflight import readable
from deploy.release.probe import differing
from deploy.release.release import Release, release_from, release_record
from deploy.steps import Prove

ROOT = Path(__file__).parents[2]
RELEASE = Release("0123456789ab", "sha256:1", Configuration("scoring"), "c" * 64, 1.0)


def test_the_example_file_states_every_default():
    """deploy.example.yml names each key, and leaving them all out gives the same."""
    values = yaml.safe_load((ROOT / "deploy.example.yml").read_text())
    assert set(values) == set(CHECKS)
    assert configuration(values) == Configuration("scoring")


def test_every_key_of_the_example_is_explained():
    """A comment on its line or above it."""
    lines = (ROOT / "deploy.example.yml").read_text().splitlines()
    for key in CHECKS:
        at = next(index for index, line in enumerate(lines) if line.startswith(f"{key}:"))
        assert "#" in lines[at] or "#" in lines[at - 1], key


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "name: expected the deployment's name"),
        ({"name": "ab"}, "name: expected 3 to 32"),
        ({"name": "Scoring"}, "name: expected 3 to 32"),
        ({"name": "scoring-"}, "name: expected 3 to 32"),
        ({"name": "a" * 33}, "name: expected 3 to 32"),
        (
            {"name": "scoring", "cpu_cores": "two"},
            "cpu_cores: expected a number from 0.1 to 1024, got 'two'",
        ),
        ({"name": "scoring", "cpu_cores": 0}, "cpu_cores: expected a number from 0.1"),
        (
            {"name": "scoring", "replicas": 1.5},
            "replicas: expected a whole number from 1 to 100, got 1.5",
        ),
        ({"name": "scoring", "replicas": True}, "replicas: expected a whole number"),
        (
            {"name": "scoring", "threads": 3},
            "threads: expected a whole number from 4 to 1024, got 3",
        ),
        ({"name": "scoring", "workers": 513}, "workers: expected a whole number from 0 to 512"),
        ({"name": "scoring", "memory": 1}, "memory: no such key; there are name"),
        (
            {"name": "scoring", "timeouts": {"redy": 1}},
            "timeouts.redy: no such key; there are build",
        ),
        ({"name": "scoring", "timeouts": {"ready": -1}}, "timeouts.ready: expected a whole number"),
        (
            {"name": "scoring", "timeouts": {"drain": 25}},
            "timeouts.drain: expected at most 20 seconds",
        ),
        (
            {"name": "scoring", "keys": {"primary": "hunter2"}},
            "keys.primary: expected env:NAME or file:PATH",
        ),
        (
            {"name": "scoring", "tls": {"certificate": "a.pem"}},
            "tls: expected a certificate and its key",
        ),
        ({"name": "scoring", "tags": ["a"]}, "tags: expected `key: value` lines"),
        ({"name": "scoring", "env": {"PORT": 1}}, "env.PORT: set by the deployment itself"),
        ({"name": "scoring", "env": ["A=1"]}, "env: expected `key: value` lines, got ['A=1']"),
        ({"name": "scoring", "env": {"A B": "1"}}, "env: expected names of letters, digits"),
        ({"name": "scoring", "env": {"A=B": "1"}}, "env: expected names of letters, digits"),
        ({"name": "scoring", "env": {" PORT": "1"}}, "env: expected names of letters, digits"),
        ({"name": "scoring", "env": {"": "1"}}, "env: expected names of letters, digits"),
        ({"name": "scoring", "env": {"1A": "1"}}, "env: expected names of letters, digits"),
        ({"name": "scoring", "env": {True: "1"}}, "env: expected names of letters, digits"),
        ({"name": "scoring", "env": {"A": None}}, "env.A: expected text, got None"),
        ({"name": "scoring", "env": {"A": ["1"]}}, "env.A: expected text, got ['1']"),
        ({"name": "scoring", "env": {"A": {"b": "1"}}}, "env.A: expected text, got {'b': '1'}"),
        ({"name": "scoring", "tags": {"a": None}}, "tags.a: expected text, got None"),
        ({"name": "scoring", "models": "a.pkl"}, "models: expected a list of paths"),
        ({"name": "scoring", "models": ["a.pkl", 1]}, "models[1]: expected a path, got 1"),
        (
            {"name": "scoring", "packages": ["libpq5", "x; rm -rf /"]},
            "packages[1]: expected the name of a Debian package",
        ),
        ({"name": "scoring", "packages": "libpq5"}, "packages: expected a list of Debian packages"),
        (
            {"name": "scoring", "scratch_mb": 1024, "memory_gb": 1},
            "scratch_mb: expected less than memory_gb (1024 MB), of which it is a part, got 1024",
        ),
        (
            {"name": "scoring", "scratch_exec": True, "target": "swarm", "bind": "0.0.0.0"},
            "scratch_exec: expected false with `target: swarm`",
        ),
        ({"name": "scoring", "preflight_network": "yes"}, "preflight_network: expected true"),
        ({"name": "scoring", "engine": "moon"}, "engine: expected unix://, tcp:// or ssh://"),
        ({"name": "scoring", "bind": "everywhere"}, "bind: expected an IP address"),
        ({"name": "scoring", "auth_enabled": "yes"}, "auth_enabled: expected true or false"),
    ],
)
def test_what_cannot_be_used_is_named_by_its_path(values, sentence):
    """Key, expectation and what came, in one sentence."""
    with pytest.raises(ConfigurationError) as refusal:
        configuration(values)
    assert str(refusal.value).startswith(f"deploy.yml: {sentence}")
    assert len(str(refusal.value).splitlines()) == 1


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path):
    """CPU_CORES=2 and --set replicas=3."""
    file = tmp_path / "deploy.yml"
    file.write_text("name: scoring\ncpu_cores: 1\nmemory_gb: 4\nreplicas: 1\n")
    environ = {"CPU_CORES": "2", "REPLICAS": "2", "MEMORY_GB": ""}
    found = read(file, environ=environ, settings={"replicas": "3", "timeouts.ready": "90"})
    assert (found.cpu_cores, found.memory_gb, found.replicas, found.timeouts.ready) == (2, 4, 3, 90)


def test_a_variable_is_text_whatever_yaml_makes_of_it(tmp_path):
    """A number and a flag too; the text may hold anything, and the name a dot."""
    file = tmp_path / "deploy.yml"
    file.write_text("name: scoring\nenv:\n  N: 1.5\n  FLAG: yes\n  a.b-c: x=y z\n  EMPTY: ''\n")
    expected = {"N": "1.5", "FLAG": "true", "a.b-c": "x=y z", "EMPTY": ""}
    assert read(file, environ={}).env == expected


@pytest.mark.parametrize("text", ["name: [", "just text", "- a\n- list\n", ""])
def test_a_file_that_is_no_configuration_is_one_sentence(tmp_path, text):
    """Not a traceback."""
    file = tmp_path / "deploy.yml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="expected"):
        read(file, environ={})
    with pytest.raises(ConfigurationError, match=r"copy deploy\.example\.yml"):
        read(tmp_path / "none.yml", environ={})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(tmp_path, environ={})


def test_a_key_that_stands_twice_is_refused(tmp_path):
    """YAML would take the last one, and a limit would not be the one that is read first."""
    file = tmp_path / "deploy.yml"
    file.write_text("name: scoring\ntimeouts:\n  ready: 30\n  request: 5\n  ready: 90\n")
    with pytest.raises(ConfigurationError, match="ready stands a second time in line 5"):
        read(file, environ={})


@pytest.mark.parametrize(
    ("environ", "settings", "sentence"),
    [
        ({"CPU_CORES": "{"}, {}, "CPU_CORES: expected a value as YAML writes it, got '{'"),
        ({}, {"cpu_cores": "["}, r"--set cpu_cores: expected a value as YAML writes it, got '\['"),
        ({}, {"name.first": "x"}, "--set name.first: name has no keys of its own, it is 'scoring'"),
        ({}, {"timeouts.ready": "soon"}, "timeouts.ready: expected a whole number"),
    ],
)
def test_an_override_that_cannot_be_used_is_one_sentence(tmp_path, environ, settings, sentence):
    """It names the variable or the option."""
    file = tmp_path / "deploy.yml"
    file.write_text("name: scoring\n")
    with pytest.raises(ConfigurationError, match=sentence) as refusal:
        read(file, environ=environ, settings=settings)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_configuration_survives_its_label():
    """Written as JSON and read back, it is the same."""
    config = configuration(
        yaml.safe_load((ROOT / "deploy.example.yml").read_text()) | {"tags": {"a": 1, "b": True}}
    )
    assert config.tags == {"a": "1", "b": "true"}
    assert Configuration.from_json(config.to_json()) == config
    assert (
        Configuration.from_json(
            json.dumps(json.loads(config.to_json()) | {"of_another_version": 1})
        )
        == config
    )
    record = release_record(Release("0123456789ab", "sha256:1", config, "c" * 64, 1.5))
    assert release_from(record["Labels"], "sha256:1").config == config


def test_a_replica_is_limited_and_hardened():
    """The engine is told of every limit, and a limit on memory is one on swap too."""
    body = specs.replica(RELEASE, "scoring-anchor", generation=7)
    host = body["HostConfig"]
    assert host["NanoCpus"] == 10**9
    assert host["Memory"] == host["MemorySwap"] == 2**30
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["PidsLimit"] > 0
    assert "NetworkMode" not in host  # one of its own
    assert host["RestartPolicy"] == {"Name": "always"}
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert "REUSE_PORT=1" in body["Env"]
    assert "PROBE_PORT=9001" in body["Env"]
    assert "PORT_FROM=/run/port/shared/scoring-anchor" in body["Env"]
    assert host["Mounts"] == [specs.port_mount("scoring")]


def test_the_preflight_runs_what_will_serve():
    """The same body but for the network, the shared port, the restarts and the labels."""
    served, proven = (
        specs.replica(RELEASE, "a", 1),
        release_specs.preflight(RELEASE),
    )
    assert proven["HostConfig"]["NetworkMode"] == "none"
    for body in (served, proven):
        del body["Labels"]
    del proven["HostConfig"]["NetworkMode"]
    del served["HostConfig"]["RestartPolicy"], served["HostConfig"]["Mounts"]
    for shared in ("PORT_FROM=/run/port/shared/a", "REPLICAS_FOLDER=/run/port/shared"):
        served["Env"].remove(shared)
    assert served == proven


def test_secrets_are_files_and_never_values():
    """The environment has their paths, labels their references."""
    config = configuration(
        {
            "name": "scoring",
            "auth_enabled": True,
            "keys": {"primary": "env:MY_KEY"},
            "tls": {"certificate": "c.pem", "key": "k.pem"},
        }
    )
    body = specs.replica(Release("1", "i", config, "c", 1.0), "a", 1)
    assert "AUTH_KEYS_FILE=/run/secrets/keys" in body["Env"]
    assert "TLS_KEY_FILE=/run/secrets/tls.key" in body["Env"]
    assert body["HostConfig"]["Mounts"] == [
        {"Type": "volume", "Source": "scoring-secrets", "Target": "/run/secrets", "ReadOnly": True},
        specs.port_mount("scoring"),
    ]


def test_the_anchor_publishes_the_port_and_lends_it():
    """Its program comes with its description, and is in no image."""
    body = specs.anchor(RELEASE, "scoring-anchor")
    host = body["HostConfig"]
    assert host["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    assert host["Mounts"] == [specs.port_mount("scoring")]
    assert body["Entrypoint"][-1] == Path(port_keeper.__file__).read_text()
    assert body["Cmd"] == ["/run/port/shared/scoring-anchor", "8080"]
    with tarfile.open(fileobj=BytesIO(specs.port_folder())) as archive:
        folder = archive.next()
    assert (folder.name, folder.isdir(), folder.uid, folder.mode) == ("shared", True, USER, 0o700)


def test_a_release_of_an_earlier_version_is_known():
    """Its service could not borrow the port."""
    labels = release_record(RELEASE)["Labels"]
    assert release_from(labels, RELEASE.image).borrows
    del labels[f"{LABEL}borrows"]
    assert not release_from(labels, RELEASE.image).borrows


LOCK = """\
# header
alpha==1.0 \\
    --hash=sha256:aa
    # via -r environment.in
beta==1.0 \\
    --hash=sha256:bb
    # via
    #   alpha
    #   shap
gamma==1.0 \\
    --hash=sha256:cc
    # via shap
delta==1.0 \\
    --hash=sha256:dd
    # via gamma
shap==0.51 \\
    --hash=sha256:ee
    # via -r environment.in
"""


def test_what_came_with_shap_alone_leaves_with_it():
    """And what that brought; what others asked for stays, with its hashes."""
    assert [pin.name for pin in pins.pins(pins.without(LOCK, "shap"))] == ["alpha", "beta"]
    assert "--hash=sha256:bb" in pins.without(LOCK, "shap")


def test_the_projects_own_lock_without_shap_is_what_scoring_needs():
    """numba and llvmlite go, numpy and Flask stay."""
    names = {
        pin.name
        for pin in pins.pins(pins.without((ROOT / "requirements.lock").read_text(), "shap"))
    }
    assert names.isdisjoint({"shap", "numba", "llvmlite", "slicer"})
    assert {"numpy", "scipy", "pandas", "scikit-learn", "flask", "gunicorn", "joblib"} <= names


@pytest.mark.parametrize(("method", "needed"), [("shap", True), ("kernel/product", False)])
def test_shap_is_installed_when_the_manifest_names_its_engine(method, needed):
    """Other JSON files among the models do not matter."""
    app = {
        "models/scoring_explainer.json": json.dumps({"method": method}).encode(),
        "models/x.json": b"not JSON",
        "models/y.json": b"[1]",
    }
    assert context.needs_shap(app) == needed


def test_pips_settings_become_files_that_the_build_can_use(tmp_path):
    """The later section wins, certificates travel, folders of this machine stay."""
    certificate = tmp_path / "company.pem"
    certificate.write_text("CERTIFICATE")
    lines = [
        f":env:.cert='{certificate}'",
        ":env:.find-links='/opt/wheels'",
        "global.index-url='https://pip.example/simple'",
        "install.index-url='https://pip.example/fast'",
        "global.extra-index-url='file:///opt/simple https://other.example/simple'",
        "freeze.timeout='10'",
    ]
    files = pip_settings.as_files(pip_settings.settings(lines))
    assert files["cert.pem"] == b"CERTIFICATE"
    assert files["pip.conf"].decode().splitlines() == [
        "[global]",
        "index-url = https://pip.example/fast",
        "extra-index-url = https://other.example/simple",
        "cert = /build/pip/cert.pem",
    ]


def test_the_context_is_the_same_bytes_twice_and_names_only_what_is_copied(tmp_path):
    """No times, no owners, no path of this machine; how pip reaches its index makes no other
    image.
    """
    files = {"app/a.py": b"1", "Dockerfile": b"FROM x", "pip/pip.conf": b"[global]"}
    config = Configuration("scoring")
    one, other = (
        context.Context(files, config),
        context.Context(dict(reversed(files.items())), config),
    )
    assert one.to_tar() == other.to_tar()
    assert one.digest() == context.Context({**files, "pip/pip.conf": b"else"}, config).digest()
    assert one.digest() != context.Context({**files, "app/a.py": b"2"}, config).digest()
    with tarfile.open(fileobj=BytesIO(one.to_tar())) as archive:
        assert {(entry.mtime, entry.uid, entry.uname) for entry in archive} == {(0, 0, "")}


def test_a_folder_of_code_leaves_its_hidden_files_behind(tmp_path):
    """Below the folder: where it lies itself, hidden or not, does not matter."""
    folder = tmp_path / ".mine" / "package"
    for name in (
        "__init__.py",
        "inner/data.csv",
        ".env",
        ".git/config",
        "inner/.cache/x",
        "__pycache__/x.pyc",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (tmp_path / "score.py").write_text("")
    config = configuration({"name": "scoring", "code": [".mine/package"], "models": []})
    found = {place for place in application(config, tmp_path) if place.startswith("package/")}
    assert found == {"package/__init__.py", "package/inner/data.csv"}


def test_an_expected_answer_that_is_not_json_is_one_sentence(tmp_path):
    """Before anything is built."""
    (tmp_path / "rows.json").write_text("[]")
    (tmp_path / "answer.json").write_text("predictions: 1")
    config = configuration({"name": "scoring", "example": "rows.json", "expected": "answer.json"})
    with pytest.raises(ConfigurationError, match=r"expected: .*answer\.json is not JSON"):
        context._example(config, tmp_path, {})


def test_the_recipe_takes_the_users_lines():
    """In the build stage, before what they are for."""
    recipe = dockerfile(Configuration("scoring", dockerfile="RUN echo hello"))
    build, runtime = recipe.split("FROM ${BASE_IMAGE}\n")
    assert build.index("RUN echo hello") < build.index("requirements.lock")
    assert "hello" not in runtime
    assert FRAGMENT_MARK not in recipe


def test_the_recipe_takes_what_deploy_yml_says():
    """The packages of the running image beside the one that LightGBM needs, the script's name in
    whatever letters, and no folder of models where there are none: the host has some then.
    """
    config = configuration(
        {
            "name": "scoring",
            "entry_script": 'src/my "$score".py',
            "models": [],
            "packages": ["libpq5", "libgl1=1.6.0-1"],
        }
    )
    _, runtime = dockerfile(config).split("FROM ${BASE_IMAGE}\n")
    assert 'ARG PACKAGES="libgomp1 libpq5 libgl1=1.6.0-1"\n' in runtime
    assert r'ARG ENTRY_SCRIPT="my \"\$score\".py"' in runtime
    assert 'ARG MODEL_FOLDER=""\n' in runtime
    assert DOCKERFILE.read_text() == dockerfile(Configuration("scoring", dockerfile=FRAGMENT_MARK))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("OSError: libGL.so.1: cannot open shared object file: No such", "libGL.so.1 is not in"),
        (
            "OSError: [Errno 28] No space left on device: '/tmp/x'",
            "has room for 64 MB: `scratch_mb",
        ),
        ("No usable temporary directory found in ['/tmp']", "has room for 64 MB: `scratch_mb"),
        ("/tmp/x.so: failed to map segment from shared object", "`scratch_exec: true` allows"),
        ("PermissionError: [Errno 13] Permission denied: '/tmp/jna/x'", "`scratch_exec: true`"),
        ("OSError: [Errno 30] Read-only file system: '/app/x'", "Only /tmp, which is HOME too"),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "`preflight_network"),
        ("OSError: [Errno 101] Network is unreachable", "`preflight_network: true` gives it one"),
    ],
)
def test_last_words_are_read_for_the_key_that_helps(said, sentence):
    """One sentence each; none where the key is set, or nothing of the kind was said."""
    config = Configuration("scoring")
    (found,) = advice(said, config, has_network=False)
    assert sentence in found
    allowed = Configuration("scoring", scratch_exec=True)
    keys = ("scratch_exec", "preflight_network")
    assert not any(key in text for text in advice(said, allowed, has_network=True) for key in keys)
    assert list(advice("ValueError: no number", config, has_network=False)) == []


def test_the_preflight_has_a_network_where_the_configuration_says_so():
    """The engine's own; and the step that is announced says it."""
    config = configuration({"name": "scoring", "preflight_network": True})
    release = Release("0123456789ab", "sha256:1", config, "c" * 64, 1.0)
    assert release_specs.preflight(release)["HostConfig"]["NetworkMode"] == "bridge"
    assert Prove(release).text.endswith("1 CPU and 1 GB, on the engine's network")
    assert Prove(RELEASE).text.endswith("1 CPU and 1 GB")


def test_the_recipe_is_clean(tmp_path):
    """hadolint finds nothing but what is excepted with a reason, in the recipe and with the default
    lines in it.
    """
    hadolint = Path(sys.executable).with_name("hadolint")

    def checked(recipe):  # by hadolint's own rules, and not by what this user has set
        return subprocess.run(
            [hadolint, "--no-color", recipe],
            cwd=tmp_path,
            env={"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    filled_in = tmp_path / "Dockerfile"
    filled_in.write_text(dockerfile(Configuration("scoring")))
    for recipe in (DOCKERFILE, filled_in):
        done = checked(recipe)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    filled_in.write_text(dockerfile(Configuration("scoring", dockerfile="RUN cd /x && sudo y")))
    done = checked(filled_in)
    assert done.returncode == 1
    assert {"DL3003", "DL3004"} <= set(done.stdout.split())


def test_answers_are_compared_number_by_number():
    """A millionth is another processor's arithmetic; the place of every other difference is
    named.
    """
    assert differing({"a": [1.0, 2.0]}, {"a": [1.0000000001, 2.0]}) == []
    assert differing({"a": [1.0, 2.0]}, {"a": [1.0, 2.1]}) == ["answer.a[1]: expected 2.0, got 2.1"]
    assert differing({"a": [1]}, {"a": [2]}) == ["answer.a[0]: expected 1, got 2"]
    assert differing({"a": 1}, {"b": 1}) == ['answer: expected {"a": 1}, got {"b": 1}']
    assert differing([1], [1, 2]) == ["answer: expected [1], got [1, 2]"]


def test_importances_are_compared_beside_the_largest_of_them():
    """Those may be sampled in single precision, which another processor rounds otherwise;
    predictions never.
    """
    expected = {"predictions": [1e-3, 1.0], "local_importance_values": [[0.5, 1e-6], [1e-6, 1e-6]]}
    rounded = {**expected, "local_importance_values": [[0.5, 1.1e-6], [1e-6, 5.9e-6]]}
    assert differing(expected, rounded) == []
    other = {**expected, "local_importance_values": [[0.5, 1e-6], [1e-6, 6.1e-6]]}
    assert differing(expected, other) == [
        "answer.local_importance_values[1][1]: expected 1e-06, got 6.1e-06"
    ]
    assert differing(expected, {**expected, "predictions": [1.00001e-3, 1.0]}) != []


def test_answers_are_compared_on_their_own_scale():
    """A model of tiny outputs is held to the same as any; what is 0 but for rounding beside the
    others is 0, by name too.
    """
    for scale in (1e-12, 1.0, 1e12):
        expected = {"predictions": [3 * scale, 0.0], "named": [{"age": scale, "bmi": 0.0}]}
        rounded = {
            "predictions": [3 * scale, 1e-16 * scale],
            "named": [{"age": scale, "bmi": 1e-16 * scale}],
        }
        assert differing(expected, rounded) == []
        for name, other in (
            ("predictions", [2 * scale, 0.0]),
            ("named", [{"age": 2 * scale, "bmi": 0.0}]),
        ):
            assert len(differing(expected, {**expected, name: other})) == 1
        assert differing({"predictions": [scale]}, {"predictions": [-scale]}) != []


def test_a_refusal_shows_the_log_as_a_person_reads_it():
    """Level and message, a traceback line by line; requests are left out, and what is not JSON of
    this form stays.
    """
    lines = [
        "Traceback (most recent call last):",
        json.dumps(
            {
                "level": "error",
                "logger": "service.web",
                "message": "error 1",
                "traceback": "File x\nKeyError",
            }
        ),
        json.dumps(
            {"level": "info", "logger": "service.access", "message": "request", "status": 500}
        ),
        json.dumps({"level": "info", "logger": "gunicorn.error", "message": "Shutting down"}),
        '{"predictions": [1]}',
        "17",
    ]
    assert readable(lines) == [
        "Traceback (most recent call last):",
        *("error: error 1", "File x", "KeyError", "info: Shutting down"),
        '{"predictions": [1]}',
        "17",
    ]


class Service(BaseHTTPRequestHandler):
    """Ready at the third question; it scores and counts."""

    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.answer(200 if self.asked > 2 else 503, b"not yet\n")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(
            200 if self.headers["Authorization"] == "Bearer primary" else 401,
            b'{"predictions": [1]}',
        )

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_the_probe_waits_then_compares(tmp_path):
    """As it runs in a container: by itself, with nothing of this project to import."""
    (tmp_path / "preflight").mkdir()
    (tmp_path / "preflight" / "request.json").write_text("[]")
    (tmp_path / "preflight" / "expected.json").write_text('{"predictions": [1]}')
    (tmp_path / "keys").write_text("primary\nsecondary\n")
    (tmp_path / "probe.py").write_text((ROOT / "deploy" / "release" / "probe.py").read_text())
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            "PROBE_PORT": str(server.server_port),
            "AUTH_KEYS_FILE": str(tmp_path / "keys"),
        }

        def probe(*command):
            done = subprocess.run(
                [sys.executable, "-I", tmp_path / "probe.py", *command],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            return done.returncode, json.loads(done.stdout)

        code, found = probe("health")
        assert (code, found["answer"]) == (1, "503 not yet")
        assert probe("ready", "10")[0] == 0
        assert Service.asked > 2
        assert probe("prove", "10")[0] == 0
        (tmp_path / "preflight" / "expected.json").write_text('{"predictions": [0]}')
        code, found = probe("prove", "10")
        assert (code, found["differences"]) == (1, ["answer.predictions[0]: expected 0, got 1"])
        server.shutdown()
    code, found = probe("ready", "0.2")
    assert code == 1
    assert "refused" in found["answer"]


def test_where_it_is_asked():
    """A service that listens everywhere is asked on this machine; the key stays out of the
    command.
    """
    everywhere = configuration({"name": "scoring", "bind": "0.0.0.0", "auth_enabled": True})
    assert scoring_uri(everywhere) == "http://127.0.0.1:8080/score"
    assert curl(everywhere, "rows.json").endswith('--header "Authorization: Bearer $KEY"')
    assert (
        scoring_uri(configuration({"name": "scoring", "bind": "::1"})) == "http://[::1]:8080/score"
    )


def test_a_service_on_another_host_is_asked_there():
    """With an engine on TCP its host, and not this machine's loopback; a chosen address stays as it
    is.
    """
    config = configuration({"name": "scoring", "bind": "0.0.0.0"})
    loopback, chosen = (
        Configuration("scoring"),
        configuration({"name": "scoring", "bind": "10.0.0.7"}),
    )
    for one in (config, loopback):
        assert (
            scoring_uri(seen_from_here("tcp://engine.example:2376", one))
            == "http://engine.example:8080/score"
        )
    assert seen_from_here("tcp://engine.example:2376", chosen) == chosen
    assert seen_from_here("unix:///run/docker.sock", config) == seen_from_here("", config) == config


def test_a_step_says_how_long_it_took(capsys):
    """And what it found."""
    with Console().step("Building") as found:
        found.append("42 MB")
    assert capsys.readouterr().out == "Building ...\n  42 MB; 0.0 s\n"


def test_deploy_never_imports_the_service():
    """It sends files; what it knows of the service it learns by asking."""
    for file in (ROOT / "deploy").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "service"], file


def test_only_one_module_knows_the_docker_package():
    """And the probe, which goes into the image, knows the standard library only."""
    knowing = [
        file.name
        for file in (ROOT / "deploy").rglob("*.py")
        if "import docker\n" in file.read_text()
    ]
    assert knowing == ["docker_engine.py"]
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse((ROOT / "deploy" / "release" / "probe.py").read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([verb, "--help"] for verb in ("up", "status", "rollback", "keys", "score"))],
)
def test_every_verb_has_help(arguments):
    """It says what the verb does, and ends with 0."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) > 5


def test_no_engine_is_one_sentence(tmp_path):
    """What to do about it, exit code 1, no traceback."""
    (tmp_path / "deploy.yml").write_text("name: scoring\nengine: unix:///nowhere/docker.sock\n")
    done = subprocess.run(
        [sys.executable, "-m", "deploy", "status", "--file", tmp_path / "deploy.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (
        "at unix:///nowhere/docker.sock: no Docker Engine answers ([Errno 2] No such file"
        in done.stderr
    )
    assert "apt-get install docker.io" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_that_hangs_up_is_one_sentence(tmp_path):
    """It listens while it starts, and may yet end."""
    address = str(tmp_path / "engine.sock")

    def hang_up():
        server.accept()[0].close()

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(UnreachableError, match="no Docker Engine answers"):
            Engine(f"unix://{address}")
        thread.join()
