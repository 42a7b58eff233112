"""The command line, thin over `deploy.deployment`: ``python -m deploy VERB``.

Next: `deploy.webservice`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy import render
from deploy.configuration import Configuration, configuration, read
from deploy.console import Console
from deploy.deployment import Deployment, nothing, opened
from deploy.engine.docker_engine import address_from
from deploy.errors import ConfigurationError, DeployError
from deploy.image.recipe import dockerfile
from deploy.release.credentials import no_keys
from deploy.release.release import Release
from deploy.render import FORMS
from deploy.steps import Step
from deploy.verbs import mutex
from deploy.verbs.ownership import TAKE_OVER
from deploy.verbs.status import as_text

DESCRIPTION = """\
Deploys saved models to a container host: builds an image, proves it with one scored example under
its real limits, and swaps it in without losing a request. Everything goes through the Docker
Engine's API; nothing else is needed."""

EPILOG = """\
examples:
  python -m deploy up                               deploy what deploy.yml says
  CPU_CORES=2 MEMORY_GB=2 python -m deploy up       the same with other limits
  python -m deploy up --set timeouts.ready=120      any key of deploy.yml
  python -m deploy score artifacts/examples.json    ask the service
  python -m deploy rollback                         back to the release that served before
  python -m deploy up --dry-run                     print the steps, and change nothing

Exit codes: 0 done, 1 refused or failed (what serves was not touched), 2 wrong usage,
130 interrupted."""

Verb = Callable[["Session", argparse.Namespace], int]


class Session:
    """One run of the command: its configuration, console and engine.

    Parameters
    ----------
    arguments : argparse.Namespace
    opened : ExitStack
        Closes the connection and its tunnel in the end.
    """

    def __init__(self, arguments: argparse.Namespace, opened: ExitStack) -> None:
        self._opened, self._takes_over = opened, arguments.take_over
        path = Path(arguments.file)
        if not path.exists() and arguments.file == "deploy.yml":
            path = Path("deploy.example.yml")
        self.root = path.resolve().parent
        self.config: Configuration = read(path, settings=_pairs(arguments.set))
        self.console = Console(quiet=arguments.quiet)
        self.name = self.config.name

    def open(self) -> Deployment:
        """Connect to the engine that the configuration names, through ssh if it says so."""
        found = opened(self.address, self.name, self.root, self.console, take_over=self._takes_over)
        return self._opened.enter_context(found)

    @property
    def address(self) -> str:
        """The engine's address; empty for this machine's socket."""
        return address_from(self.config.engine)

    @property
    def elsewhere(self) -> str:
        """Says on which host loopback is meant, when it is that of a host behind ssh."""
        return f" on {urlsplit(self.address).hostname}" if self.address.startswith("ssh://") else ""

    def preview(self, command: str, steps: list[Step]) -> int:
        """Print what would be done."""
        print(f"{self.name}: `{command}` would do this; nothing was changed")
        for step in steps:
            print(f"  {step.text}")
        return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; every failure is a message and not a traceback."""
    parsed = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as opened:
            verb: Verb = parsed.verb
            return verb(Session(parsed, opened), parsed)
    except DeployError as error:
        print(f"deploy {parsed.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"deploy {parsed.command}: interrupted; what served before serves on", file=sys.stderr
        )
        return 130
    except BrokenPipeError:  # `logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        "python -m deploy",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(title="verbs", dest="command", required=True, metavar="VERB")
    for name, (run, text, more, arguments) in VERBS.items():
        added = verbs.add_parser(name, help=text, description=f"{text}. {more}".strip())
        for argument, options in {**COMMON, **arguments}.items():
            added.add_argument(argument, **options)
        added.set_defaults(verb=run)
    return top


def _build(session: Session, arguments: argparse.Namespace) -> int:
    if arguments.print_dockerfile:
        print(dockerfile(session.config), end="")
        return 0
    release = session.open().build(session.config, arguments.no_cache)
    session.console.say(f"Release {release.id}: content {release.content[:16]}, `up` deploys it")
    return 0


def _up(session: Session, arguments: argparse.Namespace) -> int:
    deployment = session.open()
    if arguments.dry_run:
        steps = deployment.steps_up(session.config)
        return session.preview("up", steps)
    release = deployment.up(session.config, arguments.no_cache)
    _show_it_works(session, deployment, release)
    return 0


def _show_it_works(session: Session, deployment: Deployment, release: Release) -> None:
    say, example = session.console.say, release.config.example
    client = deployment.client_with_key(release.config)
    say(f"\nRelease {release.id} serves at {client.uri}{session.elsewhere}")
    if example:
        answer = client.score((session.root / example).read_bytes())
        say(f"  {client.curl(example)}\n  {answer.decode().strip()[:140]}")


def _status(session: Session, arguments: argparse.Namespace) -> int:
    deployment = session.open()
    if arguments.heal:
        deployment.heal()
    found = deployment.status()
    print(json.dumps(found.to_dict(), indent=2) if arguments.json else as_text(found))
    return 0 if found.state == "Healthy" else 1


def _logs(session: Session, arguments: argparse.Namespace) -> int:
    found = session.open().logs(arguments.lines)
    if not found:
        raise nothing(session.name)
    for replica, lines in found.items():
        print(f"--- {replica}", *lines, sep="\n")
    return 0


def _score(session: Session, arguments: argparse.Namespace) -> int:
    deployment = session.open()
    body = sys.stdin.buffer.read() if arguments.rows == "-" else _file(arguments.rows)
    client = deployment.client_with_key(deployment.serving().config)
    sys.stdout.buffer.write(client.score(body))
    return 0


def _releases(session: Session, arguments: argparse.Namespace) -> int:
    found = session.open().status()
    if not found.releases:
        raise nothing(session.name)
    for release in found.releases:
        mark = found.mark(release["id"], "serves", "previous")
        models = "".join(f"  {origin['uri']}" for origin in release["models"])
        print(f"{release['id']}  content {release['content'][:16]}{models}  {mark}".rstrip())
    return 0


def _rollback(session: Session, arguments: argparse.Namespace) -> int:
    deployment = session.open()
    if arguments.dry_run:
        return session.preview("rollback", deployment.steps_rollback(arguments.release))
    release = deployment.rollback(arguments.release)
    uri = deployment.client(release.config).uri
    session.console.say(f"Release {release.id} serves again at {uri}{session.elsewhere}")
    return 0


def _keys(session: Session, arguments: argparse.Namespace) -> int:
    deployment = session.open()
    if arguments.action == "rotate":
        deployment.rotate_keys()
        return 0
    keys = deployment.keys()
    if keys is None:
        raise no_keys(session.name)
    for name, key in zip(("primary", "secondary"), keys, strict=True):
        print(f"{name} {key}")
    return 0


def _scale(session: Session, arguments: argparse.Namespace) -> int:
    checked = configuration({"name": session.name, "replicas": arguments.replicas}, source="scale")
    deployment = session.open()
    if arguments.dry_run:
        return session.preview("scale", deployment.steps_scale(checked.replicas))
    deployment.scale(checked.replicas)
    return 0


def _prune(session: Session, arguments: argparse.Namespace) -> int:
    forgotten = session.open().prune(session.config.retain)
    session.console.say(f"Forgot {', '.join(forgotten) or 'nothing'}")
    return 0


def _down(session: Session, arguments: argparse.Namespace) -> int:
    deployment = session.open()
    if arguments.dry_run:
        return session.preview("down", deployment.steps_down())
    deployment.down()
    return 0


def _render(session: Session, arguments: argparse.Namespace) -> int:
    image = arguments.image or f"{session.name}:latest"
    manifests = FORMS[arguments.form](session.config, image, arguments.any_user)
    print(render.as_yaml(manifests), end="")
    return 0


def _unlock(session: Session, arguments: argparse.Namespace) -> int:
    deployment = session.open()
    deployment.check_owner()
    held = mutex.unlock(deployment.engine, session.name)
    session.console.say(f"{session.name}: {'unlocked' if held else 'was not locked'}")
    return 0


def _file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path} ({error.strerror})") from error


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {text}: expected KEY=VALUE")
        pairs[key] = value
    return pairs


Arguments = dict[str, dict[str, Any]]

COMMON: Arguments = {
    "--file": {
        "default": "deploy.yml",
        "metavar": "FILE",
        "help": "the configuration (default: deploy.yml, else deploy.example.yml)",
    },
    "--set": {
        "action": "append",
        "default": [],
        "metavar": "KEY=VALUE",
        "help": "override a key; repeatable",
    },
    "--quiet": {"action": "store_true", "help": "print no steps"},
    TAKE_OVER: {
        "action": "store_true",
        "help": "touch what another project has deployed under the name; it is this one's then",
    },
}
NO_CACHE: Arguments = {
    "--no-cache": {"action": "store_true", "help": "build every step anew"},
}
DRY_RUN: Arguments = {
    "--dry-run": {"action": "store_true", "help": "print the steps, and change nothing"},
}
# By its name: what runs it, what it does, what else is to be said, its own arguments.
VERBS: dict[str, tuple[Verb, str, str, Arguments]] = {
    "build": (
        _build,
        "build the image and record the release",
        "Nothing is started.",
        {
            **NO_CACHE,
            "--print-dockerfile": {"action": "store_true", "help": "print the recipe and stop"},
        },
    ),
    "up": (
        _up,
        "build, prove and roll out",
        "The old release serves until the new one is ready.",
        {**NO_CACHE, **DRY_RUN},
    ),
    "status": (
        _status,
        "show the release, its replicas, memory and out-of-memory kills",
        "Exit code 0 when healthy.",
        {
            "--json": {"action": "store_true", "help": "for programs"},
            "--heal": {
                "action": "store_true",
                "help": "first mend what a killed deployment, engine or host has left",
            },
        },
    ),
    "logs": (
        _logs,
        "show the log of every replica",
        "",
        {
            "--lines": {
                "type": int,
                "default": 50,
                "metavar": "N",
                "help": "from the end of each (default 50)",
            },
        },
    ),
    "score": (
        _score,
        "POST a file to the service and print the answer",
        "",
        {
            "rows": {
                "metavar": "FILE",
                "help": "JSON, as the service takes it; - for standard input",
            },
        },
    ),
    "releases": (_releases, "list the releases that are kept", "", {}),
    "rollback": (
        _rollback,
        "go back to the release that served before, or to RELEASE",
        "The same proof and the same swap as a deploy.",
        {
            "release": {
                "nargs": "?",
                "default": "",
                "metavar": "RELEASE",
                "help": "an id, or its first digits",
            },
            **DRY_RUN,
        },
    ),
    "keys": (
        _keys,
        "show the keys, or make a new one",
        "`rotate`: a new primary; the old one is secondary.",
        {"action": {"choices": ["show", "rotate"]}},
    ),
    "scale": (
        _scale,
        "change the number of replicas",
        "",
        {"replicas": {"type": int, "metavar": "N"}, **DRY_RUN},
    ),
    "prune": (_prune, "forget old releases beyond `retain` and free their images", "", {}),
    "down": (
        _down,
        "remove containers, releases, keys and images",
        "Safe to repeat.",
        DRY_RUN,
    ),
    "render": (
        _render,
        "print manifests for a cluster",
        "Nothing is applied, and no cluster is asked.",
        {
            "form": {"choices": sorted(FORMS)},
            "--image": {
                "metavar": "IMAGE",
                "help": "as the cluster's nodes can pull it (default: NAME:latest)",
            },
            "--any-user": {
                "action": "store_true",
                "help": "leave out the ids of user and groups: the cluster chooses (OpenShift)",
            },
        },
    ),
    "unlock": (_unlock, "take the lock from a deployment that will not come back", "", {}),
}
