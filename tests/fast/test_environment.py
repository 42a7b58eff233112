"""environment.yml, the two locks and what they promise each other."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.audit import verdict
from tools.pip_section import pip_section

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-deploy.lock", "requirements-dev.lock"]
CLIENTS = "tests/clients/requirements.lock"  # an environment of its own
AUDIT = "tools/audit/requirements.lock"  # another
DIRECT = "-r .venv/environment.in"  # how uv annotates what `make lock` took from environment.yml

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
    pins: dict[str, Pin] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if match := PIN.fullmatch(line):
            pins[match["name"]] = pin = Pin(match["version"], 0, set())
        elif HASH.fullmatch(line):
            pin.hashes += 1
        elif match := VIA.fullmatch(line):
            pin.origins.add(match["origin"])
    return pins


def declared() -> dict[str, Requirement]:
    requirements = map(Requirement, pip_section(ROOT / "environment.yml"))
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.mark.parametrize("name", declared())
def test_every_declared_requirement_is_locked_at_a_version_it_admits(name):
    """What environment.yml declares is pinned in the lock, within the declared range, with a hash
    to check.
    """
    lock = read_lock("requirements.lock")

    assert name in lock, "not locked: run `make lock`"
    assert declared()[name].specifier.contains(lock[name].version, prereleases=True), (
        "out of range: run `make lock`"
    )
    assert lock[name].hashes > 0


def test_the_lock_was_compiled_from_what_is_declared_now():
    """What the lock calls directly required is what environment.yml declares: nothing left over,
    nothing new.
    """
    direct = {name for name, pin in read_lock("requirements.lock").items() if DIRECT in pin.origins}

    assert direct == set(declared()), "run `make lock`"


@pytest.mark.parametrize("name", [*LOCKS, CLIENTS, AUDIT])
def test_a_lock_holds_pins_hashes_and_comments_only(name):
    """A lock names no index, host, find-links folder, URL or file, so it installs from whatever the
    user's pip uses.
    """
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        assert any(form.fullmatch(line) for form in (PIN, HASH, VIA, HEADER)), line
        assert "://" not in line
        assert not re.search(r"(^|\s)(~|\.\.)?/", line), f"a path: {line}"


@pytest.mark.parametrize("name", [*LOCKS, CLIENTS, AUDIT])
def test_every_locked_package_has_a_hash(name):
    """pip can check each download: no package, direct or indirect, is pinned without a hash."""
    pins = read_lock(name)

    assert pins
    assert [package for package, pin in pins.items() if pin.hashes == 0] == []


@pytest.mark.parametrize("added", ["requirements-deploy.lock", "requirements-dev.lock"])
def test_the_locks_agree_on_the_packages_they_share(added):
    """Adding the tools for deployment or development changes no version of what was installed
    before.
    """
    tools = read_lock(added)
    for name in LOCKS[: LOCKS.index(added)]:
        before = read_lock(name)
        shared = before.keys() & tools.keys()
        assert {package: tools[package].version for package in shared} == {
            package: before[package].version for package in shared
        }
    assert read_lock("requirements.lock").keys() & read_lock("requirements-dev.lock").keys()


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
