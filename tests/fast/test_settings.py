"""The settings of the service, and the container's limits that some of them follow."""

import errno
import os
import re
from dataclasses import fields
from pathlib import Path

import joblib
import pytest

from service import settings as settings_module
from service.container_limits import cpu_count, lack_of_room, memory_limit
from service.settings import (
    Settings,
    SettingsError,
    find_model_folder,
    settings_table,
    unused_values,
)

ROOT = Path(__file__).parents[2]


def cgroup(folder, **files):
    """Write files as the kernel has them: __ stands for a folder, _DOT_ for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="ascii")
    return folder


def test_settings_have_defaults_which_the_environment_replaces():
    """Unset and empty variables leave the default; every variable reaches its setting."""
    assert Settings.from_environment({"PORT": ""}) == Settings()
    read = Settings.from_environment(
        {
            "ENTRY_SCRIPT": "mine.py",
            "HOST": "0.0.0.0",
            "PORT": "80",
            "WORKERS": "2",
            "THREADS": "8",
            "MAX_CONTENT_LENGTH": "5",
            "MAX_ROWS": "7",
            "DEADLINE_SECONDS": "2.5",
            "REUSE_PORT": "1",
            "MODEL_NAME": "mine",
        }
    )
    assert (read.entry_script, read.binds, read.workers, read.threads) == (
        Path("mine.py"),
        ["0.0.0.0:80"],
        2,
        8,
    )
    assert (read.max_content_length, read.max_rows, read.deadline, read.reuse_port) == (
        5,
        7,
        2.5,
        True,
    )
    assert read.model_name == "mine"


def test_the_port_of_sagemaker_counts_after_our_own():
    """SAGEMAKER_BIND_TO_PORT is heard where PORT is silent."""
    assert Settings.from_environment({"SAGEMAKER_BIND_TO_PORT": "81"}).port == 81
    assert Settings.from_environment({"SAGEMAKER_BIND_TO_PORT": "81", "PORT": "82"}).port == 82


@pytest.mark.parametrize(
    "name", ["PORT", "WORKERS", "SLOTS", "MAX_CONTENT_LENGTH", "MAX_ROWS", "PROBE_PORT"]
)
@pytest.mark.parametrize(
    "value", ["0", "-1", "65536000000", "8_080", "2.5", "²", "many", "9" * 5000]
)
def test_a_setting_that_cannot_be_used_is_refused_by_name(name, value):
    """The sentence names the variable, what was expected and what came."""
    with pytest.raises(
        SettingsError,
        match=f"^{name}: expected a whole number from 1 to .*{re.escape(repr(value))}",
    ):
        Settings.from_environment({name: value})


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"DEADLINE_SECONDS": "nan"}, "DEADLINE_SECONDS: expected a number of seconds"),
        ({"DRAIN_SECONDS": "-1"}, "DRAIN_SECONDS: expected a number of seconds"),
        ({"REUSE_PORT": "yes"}, "REUSE_PORT: expected 1 or 0"),
        ({"AUTH_KEYS_FILE": "/nowhere"}, "AUTH_KEYS_FILE: expected a file"),
        ({"TLS_CERT_FILE": __file__}, "expected both or none"),
        ({"THREADS": "3"}, "THREADS: expected a whole number from 4 to"),
        ({"WORKERS": "513"}, "WORKERS: expected a whole number from 1 to 512"),
        ({"PROBE_PORT": "8080"}, "PROBE_PORT: expected another port than PORT"),
        ({"MODEL_NAME": "my/model"}, "MODEL_NAME: expected a name without / and :"),
        ({"MODEL_NAME": "model:1"}, "MODEL_NAME: expected a name without / and :"),
        ({"THREADS": "4", "MAX_IN_FLIGHT": "4"}, "MAX_IN_FLIGHT: expected less than THREADS"),
    ],
)
def test_settings_that_make_no_sense_are_refused(environ, named):
    """Whatever a setting is, it is checked when the service starts, not when it is first needed."""
    with pytest.raises(SettingsError, match=re.escape(named)):
        Settings.from_environment(environ)


def test_an_ipv6_host_is_bracketed():
    """An address with colons is told apart from its port; the probe port stands beside the public
    one.
    """
    assert Settings(host="::1").binds == ["[::1]:8080"]
    assert Settings(probe_port=9).binds == ["127.0.0.1:8080", "127.0.0.1:9"]


def test_the_models_are_looked_for_where_hosts_put_them(tmp_path, monkeypatch):
    """The folder that is set, else the first that exists."""
    (tmp_path / "second").mkdir()
    folders = (str(tmp_path / "first"), str(tmp_path / "second"))
    monkeypatch.setattr(settings_module, "MODEL_FOLDERS", folders)

    assert Settings().model_folder == find_model_folder("") == tmp_path / "second"
    assert Settings.from_environment({"AZUREML_MODEL_DIR": "mine"}).model_folder == Path("mine")


def test_the_documentation_has_every_setting():
    """The table of docs/operating.md is the one that the settings make."""
    assert settings_table() in (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert all(
        f"`{name}`" in settings_table()
        for field in fields(Settings)
        for name in field.metadata["variables"]
    )


def test_processors_are_those_of_the_container(tmp_path):
    """A quota of either cgroup version counts, rounded up; without one the processors that this
    process may use.
    """
    here = len(os.sched_getaffinity(0))
    assert cpu_count(tmp_path) == here == joblib.cpu_count()
    second = tmp_path / "v2"
    second.mkdir()
    cgroup(second, cpu_DOT_max="50000 100000\n")
    first = tmp_path / "v1"
    first.mkdir()
    cgroup(first, cpu__cpu_DOT_cfs_quota_us="100000", cpu__cpu_DOT_cfs_period_us="100000")
    free = tmp_path / "free"
    free.mkdir()
    cgroup(free, cpu_DOT_max="max 100000")
    assert [cpu_count(folder) for folder in (second, first, free)] == [1, 1, here]


def test_memory_is_that_of_the_container(tmp_path):
    """The limit of either cgroup version in bytes; none where the kernel says max, or a number near
    2^63.
    """
    for name, files, limit in [
        ("v2", {"memory_DOT_max": "1048576\n"}, 2**20),
        ("v2 free", {"memory_DOT_max": "max\n"}, None),
        ("v1", {"memory__memory_DOT_limit_in_bytes": "2097152\n"}, 2**21),
        ("v1 free", {"memory__memory_DOT_limit_in_bytes": "9223372036854771712\n"}, None),
        ("none", {}, None),
    ]:
        (tmp_path / name).mkdir()
        assert memory_limit(cgroup(tmp_path / name, **files)) == limit


@pytest.mark.parametrize(
    ("processors", "memory", "workers"),
    [(4, None, 4), (4, 512 * 2**20, 3), (1, None, 1), (8, 2**20, 1)],
)
def test_as_many_workers_as_processors_and_memory_allow(processors, memory, workers, monkeypatch):
    """One worker a processor as far as the memory goes, and at least one."""
    monkeypatch.setattr(settings_module, "cpu_count", lambda: processors)
    monkeypatch.setattr(settings_module, "memory_limit", lambda: memory)

    settings = Settings(model_dir=Path("nowhere"))

    assert settings.n_workers == workers
    assert settings.processors_each == max(1, processors // workers)
    assert Settings(workers=2).n_workers == 2


def test_workers_leave_room_for_a_model_each(tmp_path, monkeypatch):
    """A large model is loaded by every worker: fewer of them fit; one always does."""
    monkeypatch.setattr("service.settings.cpu_count", lambda: 8)
    monkeypatch.setattr("service.settings.memory_limit", lambda: 1024 * 2**20)
    with (tmp_path / "original_model.pkl").open("wb") as model:
        model.truncate(200 * 2**20)
    assert Settings(model_dir=tmp_path / "none").n_workers == 8
    assert Settings(model_dir=tmp_path).n_workers == 2
    monkeypatch.setattr("service.settings.memory_limit", lambda: 300 * 2**20)
    assert Settings(model_dir=tmp_path).n_workers == 1


@pytest.mark.parametrize(
    "host",
    [
        "x86_64-conda-linux-gnu",
        "x86_64-conda_cos6-linux-gnu",
        "aarch64-conda-linux-gnu",
        "x86_64-apple-darwin13.4.0",
        "arm64-apple-darwin20.0.0",
    ],
)
def test_what_conda_puts_into_host_is_no_address(host):
    """Its compilers name the machine that they compile for so: it has no effect, and that is
    said.
    """
    assert Settings.from_environment({"HOST": host}).binds == ["127.0.0.1:8080"]
    (sentence,) = unused_values({"HOST": host})
    assert host in sentence
    assert "127.0.0.1" in sentence


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "localhost"])
def test_an_address_is_listened_on(host):
    """By number or by name."""
    assert Settings.from_environment({"HOST": host}).host == host
    assert unused_values({"HOST": host}) == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HOST", "no address", "expected an address of this machine"),
        ("HOST", "127.0.0.1:80", "expected an address of this machine"),
        ("KEEP_ALIVE_SECONDS", "0", "expected a whole number from 1 to 86400"),
        ("PATH_PREFIX", "models", "expected a path such as /models/credit"),
        ("PATH_PREFIX", "/", "expected a path such as /models/credit"),
        ("PATH_PREFIX", "//a", "expected a path such as /models/credit"),
        ("PATH_PREFIX", "/a b", "expected a path such as /models/credit"),
        ("CORS_ORIGINS", "app.example.com", "expected origins such as https://app.example.com"),
        ("CORS_ORIGINS", "https://app.example.com/", "expected origins such as"),
        ("CORS_ORIGINS", ",", "expected origins such as"),
    ],
)
def test_surroundings_that_cannot_be_are_refused_by_name(name, value, says):
    """The sentence names the variable and shows what is expected."""
    with pytest.raises(SettingsError, match=f"^{name}: {re.escape(says)}"):
        Settings.from_environment({name: value})


def test_surroundings_are_read():
    """A slash at the end means nothing; origins stand between commas or spaces."""
    read = Settings.from_environment(
        {
            "KEEP_ALIVE_SECONDS": "620",
            "PATH_PREFIX": "/models/credit-2/",
            "CORS_ORIGINS": "https://a.example.com, http://localhost:3000",
        }
    )
    assert (read.keep_alive, read.path_prefix) == (620, "/models/credit-2")
    assert read.origins == ("https://a.example.com", "http://localhost:3000")
    assert Settings.from_environment({"CORS_ORIGINS": "*"}).origins == ("*",)


def test_a_lack_of_room_is_said_whatever_it_was_raised_as():
    """By what lies behind it; any other failure is not about room."""
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = ValueError("cannot cache")
    wrapped.__cause__ = full
    nowhere = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    for error in (full, wrapped, nowhere):
        said = lack_of_room(error)
        assert re.match(r"No room is left to write: /tmp has \d+ MB, of which \d+ are free\.", said)
        assert "`scratch_mb` of deploy.yml" in said
    for error in (None, ValueError("no"), OSError(errno.ENOENT, "No such file")):
        assert lack_of_room(error) == ""
