"""The one statement of the hardening, and what each platform makes of it."""

import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from deploy import render
from deploy.configuration import Configuration
from deploy.engine import hardening
from deploy.engine.hardening import HARDENING, LEFT_OUT, Hardening
from deploy.host import specs as host_specs
from deploy.image.recipe import DOCKERFILE
from deploy.release import specs as release_specs
from deploy.release.release import Release
from deploy.swarm import proxy
from deploy.swarm import specs as swarm_specs

CONFIG = Configuration("scoring")
RELEASE = Release("0123456789ab", "sha256:1", CONFIG, "c" * 64, 1.0)
ITEMS = [item.name for item in fields(Hardening)]
STATING = {"host": release_specs, "swarm": swarm_specs, "kubernetes": render}


def rendered(platform):
    """Return everything that a platform is told about a replica."""
    if platform == "host":
        return host_specs.replica(RELEASE, "anchor", 1, 9001)
    if platform == "swarm":
        return swarm_specs.service(RELEASE, "image", "network", [])
    return render.kubernetes(CONFIG, "image")


def changed(item):
    """Return the hardening with another value for one item."""
    value = getattr(HARDENING, item)
    others = {bool: lambda: not value, int: lambda: value + 7, str: lambda: f"{value}-other"}
    other = others.get(type(value), lambda: (*value, "other"))()
    return replace(HARDENING, **{item: other})


@pytest.mark.parametrize("platform", STATING)
@pytest.mark.parametrize("item", ITEMS)
def test_every_item_reaches_every_platform_or_is_excused(platform, item, monkeypatch):
    """Another value gives another body, but where the table says why the platform is not told."""
    before = rendered(platform)
    monkeypatch.setattr(STATING[platform], "HARDENING", changed(item))
    assert (rendered(platform) == before) == (item in LEFT_OUT[platform])


@pytest.mark.parametrize("platform", STATING)
def test_the_size_of_the_scratch_folder_is_the_configurations(platform, monkeypatch):
    """On every platform; and on the host programs in it are started where it says so."""
    before = str(rendered(platform))
    config = replace(CONFIG, scratch_mb=100)
    monkeypatch.setattr(sys.modules[__name__], "CONFIG", config)
    monkeypatch.setattr(sys.modules[__name__], "RELEASE", replace(RELEASE, config=config))
    after = str(rendered(platform))
    sizes = {"host": "size={}m", "swarm": "{}", "kubernetes": "{}Mi"}
    factor = 2**20 if platform == "swarm" else 1
    assert sizes[platform].format(64 * factor) in before
    assert (
        before.replace(sizes[platform].format(64 * factor), sizes[platform].format(100 * factor))
        == after
    )


def test_programs_in_the_scratch_folder_are_started_where_the_configuration_says_so():
    """And nothing else is loosened."""
    release = replace(RELEASE, config=replace(CONFIG, scratch_exec=True))
    options = host_specs.replica(release, "a", 1, 9001)["HostConfig"]["Tmpfs"]["/tmp"]
    assert options == "rw,exec,nosuid,nodev,size=64m,mode=1777"


def test_excuses_are_for_items_that_there_are():
    """In the three platforms and no other."""
    assert set(LEFT_OUT) == set(STATING)
    for excused in LEFT_OUT.values():
        assert set(excused) <= set(ITEMS)
        assert all(excused.values())


def test_the_statement_is_the_strictest_that_a_service_can_live_with():
    """No root user, no rights, no swap, nothing to write but a folder in memory."""
    assert HARDENING.user > 0
    assert HARDENING.read_only_root
    assert HARDENING.dropped_capabilities == ("ALL",)
    assert not HARDENING.new_privileges
    assert not HARDENING.privileged
    assert not HARDENING.platform_credentials
    assert HARDENING.swap_bytes == 0
    assert {"noexec", "nosuid", "nodev"} <= set(HARDENING.scratch_options)


def test_what_stands_beside_the_replicas_is_hardened_too():
    """The anchor as on its host, with fewer processes; the proxy as in its swarm, with no /tmp."""
    anchor = host_specs.anchor(RELEASE, "anchor")
    expected = hardening.hardened(2**25, 25 * 10**7, 1, replace(HARDENING, processes=8))
    assert anchor["User"] == expected["User"]
    assert expected["HostConfig"].items() <= anchor["HostConfig"].items()
    template = proxy.service(CONFIG, "network", {}, [])["TaskTemplate"]
    labels = template["ContainerSpec"]["Labels"]
    expected = swarm_specs.hardened(CONFIG.proxy_image, labels)
    assert expected.items() <= template["ContainerSpec"].items()
    assert template["Resources"]["Limits"]["Pids"] == HARDENING.processes
    assert template["LogDriver"] == swarm_specs.log_driver()


def test_the_image_is_of_the_same_user():
    """So that it runs alike where nobody names a user."""
    recipe = Path(DOCKERFILE).read_text()
    assert re.findall(r"(?m)^USER (.*)$", recipe) == [hardening.user_and_group(HARDENING)]
    assert f"HOME={HARDENING.scratch_folder} " in recipe
