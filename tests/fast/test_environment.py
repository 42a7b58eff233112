"""environment.yml, pyproject.toml, the locks and what they promise each other."""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.image.context import HOST_ONLY
from deploy.image.pins import pins, without
from tools.audit import verdict

ROOT = Path(__file__).parents[2]
RUNTIME = "requirements.lock"
DEVELOPMENT = "requirements-dev.lock"
BENCHMARKS = "benchmarks/requirements.lock"
FOREIGN = "requirements-foreign.lock"  # KServe's client needs another pandas
AZUREML_INTERPRET = "benchmarks/documents/requirements.lock"  # it wants numpy 1.23
RUNS = "requirements-runs.lock"
LOCKS = [RUNTIME, RUNS, DEVELOPMENT, BENCHMARKS, FOREIGN, AZUREML_INTERPRET]
DIRECT = "scoring-service (pyproject.toml)"  # how uv annotates a dependency of the project itself

PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][^\s;]*) \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
VIA = re.compile(r"    # {1,3}(via )?(?P<origin>.*)")
HEADER = re.compile(r"#.*")


@dataclass
class Pin:
    """One locked package: its version, how many hashes it has, and who asked for it."""

    version: str
    hashes: int
    origins: set[str]


def read_lock(name: str) -> dict[str, Pin]:
    locked: dict[str, Pin] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if match := PIN.fullmatch(line):
            locked[match["name"]] = pin = Pin(match["version"], 0, set())
        elif HASH.fullmatch(line):
            pin.hashes += 1
        elif match := VIA.fullmatch(line):
            pin.origins.add(match["origin"])
    return locked


def by_name(requirements):
    """Parse requirements as PEP 508 writes them."""
    parsed = map(Requirement, requirements)
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def declared():
    """Read what environment.yml declares for pip."""
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry for entry in dependencies["dependencies"] if isinstance(entry, dict)]
    return by_name(pip["pip"])


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_package_depends_on_what_is_declared():
    """`pip install .` brings what environment.yml declares, name for name and range for range."""
    assert by_name(pyproject()["project"]["dependencies"]) == declared()


def test_the_package_deploys_with_what_the_checkout_deploys_with():
    """The extra `deploy` is the group `host` without what builds the package."""
    extra = by_name(pyproject()["project"]["optional-dependencies"]["deploy"])
    host = by_name(pyproject()["dependency-groups"]["host"])

    assert {name: host[name] for name in extra} == extra
    assert host.keys() - extra.keys() == {"setuptools"}


@pytest.mark.parametrize("name", declared())
def test_every_declared_requirement_is_locked_at_a_version_it_admits(name):
    """What environment.yml declares is pinned in the lock, within the declared range, with a hash
    to check.
    """
    lock = read_lock(RUNTIME)

    assert name in lock, "not locked: run `make lock`"
    assert declared()[name].specifier.contains(lock[name].version, prereleases=True), (
        "out of range: run `make lock`"
    )
    assert lock[name].hashes > 0


def test_the_lock_was_compiled_from_what_is_declared_now():
    """What the lock calls directly required is what environment.yml declares: nothing left over,
    nothing new.
    """
    direct = {name for name, pin in read_lock(RUNTIME).items() if DIRECT in pin.origins}

    assert direct == set(declared()), "run `make lock`"


def test_an_image_leaves_out_what_this_machine_alone_needs():
    """Neither the engine's client nor the build tools, nor what came with them, go into an image;
    all that the service needs does.
    """
    lock = (ROOT / RUNTIME).read_text(encoding="utf-8")
    everything = {pin.name for pin in pins(lock)}
    in_image = {pin.name for pin in pins(without(lock, HOST_ONLY))}

    assert everything - in_image == {
        *("docker", "pyyaml", "setuptools"),
        *("requests", "certifi", "charset-normalizer", "idna", "urllib3"),
    }
    assert set(declared()) <= in_image


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pins_hashes_and_comments_only(name):
    """A lock names no index, host, find-links folder, URL or file, so it installs from whatever the
    user's pip uses.
    """
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        assert any(form.fullmatch(line) for form in (PIN, HASH, VIA, HEADER)), line
        assert "://" not in line
        assert not re.search(r"(^|\s)(~|\.\.)?/", line), f"a path: {line}"


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_hash(name):
    """pip can check each download: no package, direct or indirect, is pinned without a hash."""
    locked = read_lock(name)

    assert locked
    assert [package for package, pin in locked.items() if pin.hashes == 0] == []


@pytest.mark.parametrize("added", [DEVELOPMENT, BENCHMARKS])
def test_the_locks_agree_on_the_packages_they_share(added):
    """Adding the tools for development changes no version of what was installed before, and the
    benchmarks measure the service at the versions that are deployed.
    """
    before, more = read_lock(RUNTIME), read_lock(added)
    shared = before.keys() & more.keys()

    assert {package: more[package].version for package in shared} == {
        package: before[package].version for package in shared
    }
    assert set(declared()) <= shared


CLEAN = {"name": "click", "version": "8.5.1", "vulns": []}
FOUND = {
    "name": "werkzeug",
    "version": "3.1.9",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["9.9"], "aliases": []}],
}
SKIPPED = {
    "name": "blinker",
    "skip_reason": "Dependency not found on PyPI and could not be audited: blinker (1.9.0)",
}


@pytest.mark.parametrize(
    ("packages", "sentence"),
    [
        ([CLEAN], ""),
        ([CLEAN, FOUND], "werkzeug 3.1.9: PYSEC-1, fixed in ['9.9']; "),
        ([CLEAN, SKIPPED], "no vulnerability data for 1 of 2 packages (blinker"),
        ([], "no vulnerability data for 0 of 0 packages"),
    ],
)
def test_the_audit_takes_no_silence_for_a_yes(packages, sentence):
    """pip-audit skips what it cannot look up and then finds nothing known; here that is a failure
    that says so.
    """
    (said,) = verdict(json.dumps({"dependencies": packages, "fixes": []})) or [""]
    assert said.startswith(sentence)
    assert bool(said) == bool(sentence)
    assert verdict("Traceback")[0].startswith("no vulnerability data")
