"""Gunicorn's own options: one that would take away what the service promises is refused."""

import pytest
from gunicorn.config import Config

from service.server.gunicorn_options import HARMLESS, INSTEAD, NUMBERS, refuse_options
from service.settings import Settings

OPTIONS = {name: setting for name, setting in Config().settings.items() if setting.cli}
REFUSED = sorted(OPTIONS.keys() - HARMLESS)


def spelled(name):
    """An option as a command line has it, with a value where it takes one."""
    takes_none = OPTIONS[name].action in ("store_true", "store_const")
    return [OPTIONS[name].cli[-1]] + ["7"] * (not takes_none)


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_that_was_not_looked_at_is_refused(name):
    """From the command line and from the environment, by its name; nothing else is said."""
    arguments = spelled(name)
    for given in ((arguments, {}), ([], {"GUNICORN_CMD_ARGS": " ".join(arguments)})):
        with pytest.raises(SystemExit, match=f"got {arguments[0]} "):
            refuse_options(*given)


def test_everything_harmless_is_taken_at_once():
    """Neither the service's own command line nor any of these is refused."""
    harmless = [word for name in sorted(HARMLESS & OPTIONS.keys()) for word in spelled(name)]
    refuse_options(["--config", "python:service.server.gunicorn_conf"], {})
    refuse_options(harmless, {})


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_a_bound_is_none_at_zero(name):
    """Gunicorn takes 0 for no bound, the service for one of nothing."""
    with pytest.raises(SystemExit, match="expected a number above 0"):
        refuse_options([OPTIONS[name].cli[-1], "0"], {})


def test_all_of_them_are_told_in_one_sentence():
    """Short ones by their long name; a setting of the service is named where there is one."""
    with pytest.raises(SystemExit) as refusal:
        refuse_options(["-w", "3"], {"GUNICORN_CMD_ARGS": "--preload -k gevent"})
    assert str(refusal.value).endswith(
        "got --workers (set WORKERS), --worker-class (leave it out), --preload (leave it out)."
    )


def test_what_is_named_exists():
    """In this version of gunicorn, and as settings of the service."""
    names = {word.strip(",") for advice in INSTEAD.values() for word in advice.split()}
    variables = {name for name in names if name.isupper()}
    assert (INSTEAD.keys() | NUMBERS | HARMLESS) <= OPTIONS.keys()
    assert INSTEAD.keys().isdisjoint(HARMLESS)
    for variable in sorted(variables):
        assert any(
            variable in setting.metadata["variables"]
            for setting in Settings.__dataclass_fields__.values()
        )


def test_a_path_that_gunicorn_would_demand_is_refused():
    """SCRIPT_NAME in the environment makes every other path a 500."""
    with pytest.raises(SystemExit, match="PATH_PREFIX"):
        refuse_options([], {"SCRIPT_NAME": "/models"})
