"""Paths that begin with a prefix, which an ingress or a proxy leaves before those of the routes.

Next: :mod:`service.web.protocols.cross_origin`.
"""

from collections.abc import Callable, Iterable
from typing import Any

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def under_prefix(application: WsgiApp, prefix: str) -> WsgiApp:
    """Let an application answer every path under a prefix too.

    Paths without it are answered as before: health checks of a container know of no proxy.

    Parameters
    ----------
    application : callable
        A WSGI application.
    prefix : str
        As "/models/credit"; "" changes nothing.

    Returns
    -------
    callable
        A WSGI application.

    Examples
    --------
    >>> def show(environ, start_response):
    ...     return [environ["SCRIPT_NAME"].encode(), environ["PATH_INFO"].encode()]
    >>> under_prefix(show, "/credit")({"SCRIPT_NAME": "", "PATH_INFO": "/credit/score"}, print)
    [b'/credit', b'/score']
    """
    if not prefix:
        return application

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if f"{path}/".startswith(f"{prefix}/"):
            environ["SCRIPT_NAME"] = f"{environ['SCRIPT_NAME']}{prefix}"
            environ["PATH_INFO"] = path[len(prefix) :] or "/"
        return application(environ, start_response)

    return answer
