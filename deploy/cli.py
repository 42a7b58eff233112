"""The command line, thin over `deploy.deployment`: `python -m deploy VERB`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from deploy import deployment, render
from deploy.client import curl, score_at, scoring_uri, seen_from_here
from deploy.configuration import Configuration, configuration, read
from deploy.console import Console
from deploy.engine.docker_engine import Engine, address_from
from deploy.engine.tunnel import tunnel
from deploy.errors import ConfigurationError, DeployError
from deploy.image.context import dockerfile
from deploy.release import credentials
from deploy.release.release import Release
from deploy.release.releases import build_release
from deploy.render import FORMS
from deploy.target import target_of
from deploy.verbs import mutex
from deploy.verbs.status import as_text, status

DESCRIPTION = """\
Deploys saved models to a container host: builds an image, proves it with one scored example under its real limits, and
swaps it in without losing a request. Everything goes through the Docker Engine's API; nothing else is needed."""

EPILOG = """\
examples:
  python -m deploy up                               deploy what deploy.yml says
  CPU_CORES=2 MEMORY_GB=2 python -m deploy up       the same with other limits
  python -m deploy up --set timeouts.ready=120      any key of deploy.yml
  python -m deploy score artifacts/examples.json    ask the service
  python -m deploy rollback                         back to the release that served before

Exit codes: 0 done, 1 refused or failed (what serves was not touched), 2 wrong usage, 130 interrupted."""

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
        self._opened = opened
        path = Path(arguments.file)
        if not path.exists() and arguments.file == "deploy.yml":
            path = Path("deploy.example.yml")
        self.root = path.resolve().parent
        self.config: Configuration = read(path, settings=_pairs(arguments.set))
        self.console = Console(quiet=arguments.quiet)
        self.name = self.config.name

    def engine(self) -> Engine:
        """Connect to the engine that the configuration names, through ssh if it says so."""
        engine = Engine(self._opened.enter_context(tunnel(self.address)))
        self._opened.callback(engine.close)
        return engine

    @property
    def address(self) -> str:
        """The engine's address; empty for this machine's socket."""
        return address_from(self.config.engine)

    @property
    def elsewhere(self) -> str:
        """Says on which host loopback is meant, when it is that of a host behind ssh."""
        return f" on {urlsplit(self.address).hostname}" if self.address.startswith("ssh://") else ""

    def seen(self, engine: Engine, config: Configuration) -> Configuration:
        """Return a configuration with the address at which it is asked from here."""
        return seen_from_here(self.address, deployment.asked(engine, config))

    def score(self, engine: Engine, config: Configuration, body: bytes) -> bytes:
        """Ask the service, with its key, wherever it is."""
        keys = credentials.read_keys(engine, config.name) if config.auth_enabled else None
        return score_at(
            self.address, deployment.asked(engine, config), body, keys[0] if keys else "", self.root
        )


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
    raw = argparse.RawDescriptionHelpFormatter
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--file", default="deploy.yml", metavar="FILE", help="the configuration (default: deploy.yml, "
                        "else deploy.example.yml)")  # fmt: skip
    common.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a key; repeatable"
    )
    common.add_argument("--quiet", action="store_true", help="print no steps")
    top = argparse.ArgumentParser(
        "python -m deploy", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw
    )
    verbs = top.add_subparsers(title="verbs", dest="command", required=True, metavar="VERB")

    def verb(name: str, run: Verb, text: str, more: str = "") -> argparse.ArgumentParser:
        added = verbs.add_parser(
            name, parents=[common], help=text, description=f"{text}. {more}".strip()
        )
        added.set_defaults(verb=run)
        return added

    one = verb("build", _build, "build the image and record the release", "Nothing is started.")
    one.add_argument("--no-cache", action="store_true", help="build every step anew")
    one.add_argument("--print-dockerfile", action="store_true", help="print the recipe and stop")
    one = verb(
        "up", _up, "build, prove and roll out", "The old release serves until the new one is ready."
    )
    one.add_argument("--no-cache", action="store_true", help="build every step anew")
    one = verb("status", _status, "show the release, its replicas, memory and out-of-memory kills",
               "Exit code 0 when healthy.")  # fmt: skip
    one.add_argument("--json", action="store_true", help="for programs")
    one.add_argument(
        "--heal",
        action="store_true",
        help="first mend what a killed deployment, engine or host has left",
    )
    one = verb("logs", _logs, "show the log of every replica")
    one.add_argument(
        "--lines", type=int, default=50, metavar="N", help="from the end of each (default 50)"
    )
    one = verb("score", _score, "POST a file to the service and print the answer")
    one.add_argument(
        "rows", metavar="FILE", help="JSON, as the service takes it; - for standard input"
    )
    verb("releases", _releases, "list the releases that are kept")
    one = verb("rollback", _rollback, "go back to the release that served before, or to RELEASE",
               "The same proof and the same swap as a deploy.")  # fmt: skip
    one.add_argument(
        "release", nargs="?", default="", metavar="RELEASE", help="an id, or its first digits"
    )
    one = verb(
        "keys",
        _keys,
        "show the keys, or make a new one",
        "`rotate`: a new primary; the old one is secondary.",
    )
    one.add_argument("action", choices=["show", "rotate"])
    one = verb("scale", _scale, "change the number of replicas")
    one.add_argument("replicas", type=int, metavar="N")
    verb("prune", _prune, "forget old releases beyond `retain` and free their images")
    verb("down", _down, "remove containers, releases, keys and images", "Safe to repeat.")
    one = verb(
        "render",
        _render,
        "print manifests for a cluster",
        "Nothing is applied, and no cluster is asked.",
    )
    one.add_argument("form", choices=sorted(FORMS))
    one.add_argument(
        "--image", metavar="IMAGE", help="as the cluster's nodes can pull it (default: NAME:latest)"
    )
    verb("unlock", _unlock, "take the lock from a deployment that will not come back")
    return top


def _build(session: Session, arguments: argparse.Namespace) -> int:
    if arguments.print_dockerfile:
        print(dockerfile(session.config.dockerfile), end="")
        return 0
    engine = session.engine()
    with deployment.working(engine, session.name, session.root, "build", session.console):
        release = build_release(
            engine, session.config, session.root, session.console, arguments.no_cache
        )
    session.console.say(f"Release {release.id}: content {release.content[:16]}, `up` deploys it")
    return 0


def _up(session: Session, arguments: argparse.Namespace) -> int:
    engine = session.engine()
    release = deployment.up(
        engine, session.config, session.root, session.console, arguments.no_cache
    )
    _show_it_works(session, engine, release)
    return 0


def _show_it_works(session: Session, engine: Engine, release: Release) -> None:
    config, say = release.config, session.console.say
    seen = session.seen(engine, config)
    say(f"\nRelease {release.id} serves at {scoring_uri(seen)}{session.elsewhere}")
    if config.example:
        answer = session.score(engine, config, (session.root / config.example).read_bytes())
        say(f"  {curl(seen, config.example)}\n  {answer.decode().strip()[:140]}")


def _status(session: Session, arguments: argparse.Namespace) -> int:
    engine = session.engine()
    if arguments.heal:
        with deployment.working(engine, session.name, session.root, "heal", session.console):
            pass  # `working` heals
    found = status(engine, session.name)
    print(json.dumps(found.to_dict(), indent=2) if arguments.json else as_text(found))
    return 0 if found.state == "Healthy" else 1


def _logs(session: Session, arguments: argparse.Namespace) -> int:
    engine = session.engine()
    found = target_of(engine, session.name).logs(engine, session.name, arguments.lines)
    if not found:
        raise deployment.nothing(session.name)
    for replica, lines in found.items():
        print(f"--- {replica}", *lines, sep="\n")
    return 0


def _score(session: Session, arguments: argparse.Namespace) -> int:
    engine = session.engine()
    body = sys.stdin.buffer.read() if arguments.rows == "-" else _file(arguments.rows)
    config = deployment.serving(engine, session.name).config
    sys.stdout.buffer.write(session.score(engine, config, body))
    return 0


def _releases(session: Session, arguments: argparse.Namespace) -> int:
    found = status(session.engine(), session.name)
    if not found.releases:
        raise deployment.nothing(session.name)
    for one in found.releases:
        mark = {found.release: "serves", found.previous: "previous"}.get(one["id"], "")
        print(f"{one['id']}  content {one['content'][:16]}  {mark}".rstrip())
    return 0


def _rollback(session: Session, arguments: argparse.Namespace) -> int:
    engine = session.engine()
    release = deployment.rollback(
        engine, session.name, session.root, session.console, arguments.release
    )
    uri = scoring_uri(session.seen(engine, release.config))
    session.console.say(f"Release {release.id} serves again at {uri}{session.elsewhere}")
    return 0


def _keys(session: Session, arguments: argparse.Namespace) -> int:
    engine = session.engine()
    if arguments.action == "rotate":
        deployment.rotate_keys(engine, session.name, session.root, session.console)
        return 0
    keys = credentials.read_keys(engine, session.name)
    if keys is None:
        raise credentials.no_keys(session.name)
    for name, key in zip(("primary", "secondary"), keys, strict=True):
        print(f"{name} {key}")
    return 0


def _scale(session: Session, arguments: argparse.Namespace) -> int:
    replicas = configuration(
        {"name": session.name, "replicas": arguments.replicas}, source="scale"
    ).replicas
    deployment.change(
        session.engine(), session.name, session.root, session.console, "scale", replicas=replicas
    )
    return 0


def _prune(session: Session, arguments: argparse.Namespace) -> int:
    engine = session.engine()
    with deployment.working(engine, session.name, session.root, "prune", session.console):
        forgotten = deployment.forget_old(engine, session.name, session.config.retain)
    session.console.say(f"Forgot {', '.join(forgotten) or 'nothing'}")
    return 0


def _down(session: Session, arguments: argparse.Namespace) -> int:
    deployment.down(session.engine(), session.name, session.root, session.console)
    return 0


def _render(session: Session, arguments: argparse.Namespace) -> int:
    image = arguments.image or f"{session.name}:latest"
    print(render.as_yaml(FORMS[arguments.form](session.config, image)), end="")
    return 0


def _unlock(session: Session, arguments: argparse.Namespace) -> int:
    held = mutex.unlock(session.engine(), session.name)
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
