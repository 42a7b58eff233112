"""Asking a deployed service to score, as any client would.

Next: `deploy.cli`.
"""

from __future__ import annotations

import http.client
import shlex
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from deploy.configuration import Configuration
from deploy.contract import READY_ROUTE, SCORE_ROUTE
from deploy.engine.tunnel import forwarded_port
from deploy.errors import RequestFailedError

ANYWHERE = {
    "0.0.0.0": "127.0.0.1",
    "::": "[::1]",
}  # where a service that listens everywhere is asked
LOOPBACK = ("127.0.0.1", "::1")
READY_SECONDS = 10  # for the published port to answer


def scoring_uri(config: Configuration) -> str:
    """Say where a deployment scores, seen from the engine's host."""
    return _uri(config, SCORE_ROUTE)


def _uri(config: Configuration, route: str) -> str:
    host = ANYWHERE.get(config.bind, f"[{config.bind}]" if ":" in config.bind else config.bind)
    return f"{config.scheme}://{host}:{config.port}{route}"


def score(config: Configuration, body: bytes, key: str = "", root: Path = Path()) -> bytes:
    """POST a body and return the answer.

    Raises
    ------
    RequestFailedError
        When nothing answers, or the answer is not 200.
    """
    uri = scoring_uri(config)
    headers = {
        "Content-Type": "application/json",
        **({"Authorization": f"Bearer {key}"} if key else {}),
    }
    request = urllib.request.Request(uri, body, headers)
    context = None
    if config.tls.certificate:
        context = ssl.create_default_context(cafile=str(root / config.tls.certificate))
        context.check_hostname = (
            False  # it is asked by its address, and the certificate itself is known
        )
    try:
        with _opener(context).open(request, timeout=config.timeouts.request) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise RequestFailedError(
            f"POST {uri}: answered {error.code}: {error.read().decode(errors='replace')}"
        ) from error
    except OSError as error:
        raise RequestFailedError(
            f"POST {uri}: {error}; see `python -m deploy status` and `logs`"
        ) from error


@dataclass(frozen=True)
class Client:
    """Who asks a deployment from here, wherever its engine is: here, behind a tunnel, elsewhere.

    Parameters
    ----------
    address : str
        The engine's; empty for this machine's socket.
    config : Configuration
        With the address at which it is reached on the engine's host.
    key : str
        Empty where none is asked for.
    root : Path
        The folder that the configuration's paths start from.
    """

    address: str
    config: Configuration
    key: str
    root: Path

    @property
    def uri(self) -> str:
        """Where rows are POSTed to; behind ssh it is the engine's host that loopback means."""
        return scoring_uri(self._seen)

    @property
    def _seen(self) -> Configuration:
        return seen_from_here(self.address, self.config)

    def curl(self, example: str) -> str:
        """Write the command that asks the same; the key stays out of it."""
        return curl(self._seen, example)

    def score(self, body: bytes) -> bytes:
        """POST a body, and return the answer.

        Raises
        ------
        RequestFailedError
            As `score` does.
        """
        with forwarded_port(self.address, self.config.port) as port:
            there = _at(self.config, port)
            return score(seen_from_here(self.address, there), body, self.key, self.root)


def _at(config: Configuration, port: int) -> Configuration:
    """Say where a port of the engine's host is reached: forwarded to one here, or there itself."""
    return config if port == config.port else replace(config, port=port, bind="127.0.0.1")


def wrong_with_port(address: str, config: Configuration) -> str:
    """Ask the published port whether the service is ready, as a client would reach it.

    Returns
    -------
    str
        What is wrong, as a sentence; empty when it answers as it should, and where it cannot be
        asked from here: on the loopback of another host that ssh does not lead to.
    """
    if address.startswith("tcp://") and config.bind in LOOPBACK:
        return ""
    with forwarded_port(address, config.port) as port:
        uri = _uri(seen_from_here(address, _at(config, port)), READY_ROUTE)
        context = ssl.create_default_context()
        # Whose certificate it is does not matter here: nothing is told to the service.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with _opener(context).open(uri, timeout=READY_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                return f"GET {uri}: answered {error.code}, expected 200"
        except (OSError, http.client.HTTPException) as error:
            return f"GET {uri}: nobody answers ({error})"


def _opener(context: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    # The service is on this machine or at the end of a tunnel: a proxy set in the environment would
    # look elsewhere.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)


def seen_from_here(address: str, config: Configuration) -> Configuration:
    """Name the engine's host in place of all addresses and of loopback.

    Those would be this machine's own.
    """
    host = urlsplit(address).hostname if address.startswith("tcp://") else None
    return replace(config, bind=host) if host and config.bind in {*ANYWHERE, *LOOPBACK} else config


def curl(config: Configuration, example: str) -> str:
    """Write the command that asks the same; the key stays out of it."""
    command = ["curl", "--data", f"@{example}"]
    if config.tls.certificate:
        command += ["--cacert", config.tls.certificate]
    line = shlex.join([*command, scoring_uri(config)])
    return f'{line} --header "Authorization: Bearer $KEY"' if config.auth_enabled else line
