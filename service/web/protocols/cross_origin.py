"""Pages of other origins: browsers let them ask, and read answers, only where the service says so.

This is no protection of the service, which keys are; it is off unless origins are set. The
protocol is CORS of https://fetch.spec.whatwg.org. Next: `service.web.error_responses`.
"""

from collections.abc import Sequence

from flask import Flask, Response, request

from service.web.logs import REQUEST_ID

ANY = "*"
METHODS = "GET, POST, OPTIONS"
HEADERS = f"Authorization, Content-Type, Content-Encoding, Accept, {REQUEST_ID}"
READABLE = f"{REQUEST_ID}, Retry-After"
SECONDS = "600"  # for which a browser remembers what it was told


def allow_origins(app: Flask, origins: Sequence[str]) -> None:
    """Let pages of some origins ask an application.

    Parameters
    ----------
    app : Flask
    origins : sequence of str
        As ``https://app.example.com``, or "*" for all. Without one nothing changes.
    """
    if not origins:
        return

    @app.after_request
    def tell(response: Response) -> Response:
        if ANY not in origins:
            response.vary.add("Origin")  # for caches: others are answered without these headers
        origin = request.headers.get("Origin", "")
        is_allowed = bool(origin) and bool({ANY, origin} & {*origins})
        if not is_allowed or request.blueprint == "dashboard":  # which shows data, to itself alone
            return response
        response.headers["Access-Control-Allow-Origin"] = ANY if ANY in origins else origin
        if _is_preflight():
            response.headers["Access-Control-Allow-Methods"] = METHODS
            response.headers["Access-Control-Allow-Headers"] = HEADERS
            response.headers["Access-Control-Max-Age"] = SECONDS
        else:
            response.headers["Access-Control-Expose-Headers"] = READABLE
        return response


def _is_preflight() -> bool:
    """Tell whether a browser asks whether it may ask."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
