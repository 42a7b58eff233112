"""How an entry script's ``run`` is called: by the names of its parameters.

===================  =============================================================================
parameter            what it gets
===================  =============================================================================
the first            the body as JSON text; after ``@rawhttp`` the HTTP request itself
``request``          what is asked for, a :class:`~service.scoring.request.ScoringRequest`; so does
                     one of any name with that annotation
``request_headers``  the headers of the HTTP request, in a dict
any other            its default
===================  =============================================================================

After ``@input_schema`` of the package inference-schema the body is a JSON object, and each
parameter gets the member of its name, or its default. But for ``request``, that is what Azure ML's
inference server does. A function that cannot be called so is refused when the script is loaded, not
at each request.

Next: :mod:`service.web.entry.azure_modules`.
"""

import inspect
import json
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import Parameter, Signature
from io import BytesIO
from types import FrameType
from typing import Any, TypeAlias

from flask import Request
from werkzeug.datastructures import EnvironHeaders

from service.rows.json_rows import JsonRows
from service.scoring.request import ScoringRequest
from service.web.bodies import json_object
from service.web.errors import BodyError, EntryScriptError

HEADERS, REQUEST = "request_headers", "request"
# Where inference-schema turns a member of the body into what run() is annotated to take.
CONVERSION = ("inference_schema.schema_decorators", "_deserialize_input_argument")
_LOSSLESS = "surrogateescape"
_UNNAMED = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
# Of a function that is written in C and does not tell its own.
_OF_C = Signature([Parameter("raw_data", Parameter.POSITIONAL_ONLY)])


@dataclass(frozen=True)
class ScriptCall:
    """What one request has for ``run``.

    Attributes
    ----------
    rows : str, bytes, dict or list
        The body, or what was read from it.
    asked : ScoringRequest
    environ : mapping
        The WSGI environment of the HTTP request.
    """

    rows: JsonRows
    asked: ScoringRequest
    environ: Mapping[str, Any]

    def text(self) -> str:
        """Return the body as text, JSON of what was read from it."""
        if isinstance(self.rows, bytes):
            return self.rows.decode(errors=_LOSSLESS)
        return self.rows if isinstance(self.rows, str) else json.dumps(self.rows)

    @cached_property
    def members(self) -> Mapping[str, Any]:
        """The body as a JSON object."""
        return json_object(self.text())

    def headers(self) -> dict[str, str]:
        """Return the headers of the HTTP request."""
        return dict(EnvironHeaders(dict(self.environ)))

    def http_request(self) -> Request:
        """Return the HTTP request, with a body that has not been read yet."""
        body = self.text().encode(errors=_LOSSLESS)
        environ = {**self.environ, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)  # it is whole now
        return Request(environ)


Giver: TypeAlias = Callable[[ScriptCall], Any]


class RunFunction:
    """An entry script's ``run``, called with what it has names for.

    Parameters
    ----------
    function : callable
    takes_http : bool, default False
        Whether it was decorated with ``@rawhttp``.

    Attributes
    ----------
    takes_http : bool
    takes_request : bool
        Whether a parameter gets the ScoringRequest.

    Raises
    ------
    EntryScriptError
        When no request could be answered; the message says what to change.

    Examples
    --------
    >>> run = RunFunction(lambda raw_data, request_headers: [raw_data, request_headers])
    >>> run(ScriptCall("[[1, 2]]", ScoringRequest(), {"HTTP_ACCEPT": "*/*"}))
    ['[[1, 2]]', {'Accept': '*/*'}]
    """

    def __init__(self, function: Callable[..., Any], *, takes_http: bool = False) -> None:
        _refuse_deferred(function)
        self.takes_http = takes_http
        signature = _signature_of(function)
        find = _members if _has_schema(function) else _body_and_request
        known = _known_by_name(signature)
        self._givers = known | find(signature, known, takes_http)
        self.takes_request = _asked in self._givers.values()
        self._call = _calling(function, signature, self._givers)

    def __call__(self, call: ScriptCall) -> Any:
        """Call the function for a request.

        Raises
        ------
        BodyError
            When the body does not have what the input schema says.
        Exception
            Whatever the function raises.
        """
        arguments = {name: give(call) for name, give in self._givers.items()}
        try:
            return self._call(arguments)
        except Exception as error:
            if _is_of_conversion(error):
                raise BodyError(
                    f"Body: expected what the input schema of run() says, but: {error}"
                ) from error
            raise


def _rows(call: ScriptCall) -> JsonRows:
    return call.rows


def _asked(call: ScriptCall) -> ScoringRequest:
    return call.asked


def _member(parameter: Parameter, call: ScriptCall) -> Any:
    value = call.members.get(parameter.name, parameter.default)
    if value is Parameter.empty:
        raise BodyError(f"Body: expected a value under {parameter.name!r}, got none.")
    return value


def _signature_of(function: Callable[..., Any], *, follow_wrapped: bool = True) -> Signature:
    try:
        return inspect.signature(function, follow_wrapped=follow_wrapped)
    except (TypeError, ValueError):
        return _OF_C


def _known_by_name(signature: Signature) -> dict[str, Giver]:
    """Find the parameters that are known by name or annotation, wherever they stand."""
    givers: dict[str, Giver] = {}
    for parameter in signature.parameters.values():
        if parameter.name == HEADERS:
            givers[HEADERS] = ScriptCall.headers
        elif parameter.annotation in (ScoringRequest, ScoringRequest.__name__):
            givers[parameter.name] = _asked
    return givers


def _others(signature: Signature, known: Collection[str]) -> list[Parameter]:
    """Return the parameters that are not known by name, the body's first.

    Raises
    ------
    EntryScriptError
        When there are none.
    """
    named = filter(_is_named, signature.parameters.values())
    others = [parameter for parameter in named if parameter.name not in known]
    if others:
        return others
    raise EntryScriptError(
        f"run(): expected a parameter for the body, as in run(raw_data), got {_shown(signature)}; "
        "name one, and let a decorator of yours keep the names by functools.wraps"
    )


def _is_named(parameter: Parameter) -> bool:
    return parameter.kind not in _UNNAMED


def _body_and_request(
    signature: Signature, known: Mapping[str, Giver], takes_http: bool
) -> dict[str, Giver]:
    """Find what gets the body, and what is called ``request`` behind it.

    Raises
    ------
    EntryScriptError
        When a parameter gets no value.
    """
    body, *others = _others(signature, known)
    asking: dict[str, Giver] = {}
    for parameter in others:
        if parameter.name == REQUEST:
            asking[REQUEST] = _asked
        elif parameter.default is Parameter.empty:
            raise EntryScriptError(
                f"run(): no request has a value for {parameter.name!r} of {_shown(signature)}; "
                f"give it a default, or call it {REQUEST!r} to get what a request asks for, or "
                f"{HEADERS!r} to get its headers"
            )
    if takes_http:
        return {body.name: ScriptCall.http_request, **asking}
    # A script that is told more than the body is one of ours, and takes rows that were read.
    takes_rows = _asked in (*known.values(), *asking.values())
    return {body.name: _rows if takes_rows else ScriptCall.text, **asking}


def _members(
    signature: Signature, known: Mapping[str, Giver], takes_http: bool
) -> dict[str, Giver]:
    """Let every parameter get the member of the body that has its name.

    Raises
    ------
    EntryScriptError
        When ``@rawhttp`` wants the body too.
    """
    if takes_http:
        raise EntryScriptError(
            "run(): expected @rawhttp or @input_schema, got both; take one of them away"
        )
    givers: dict[str, Giver] = {}
    for parameter in _others(signature, known):
        givers[parameter.name] = partial(_member, parameter)
    return givers


def _has_schema(function: Callable[..., Any]) -> bool:
    """Tell whether a function was decorated by inference-schema, if anybody has imported it."""
    schemas = sys.modules.get("inference_schema.schema_util")
    return schemas is not None and bool(schemas.is_schema_decorated(function))


def _calling(
    function: Callable[..., Any], signature: Signature, names: Collection[str]
) -> Callable[[dict[str, Any]], Any]:
    """Choose how a function is called: by names, or by places where it has no such names.

    A decorator may have other parameters than what it decorates, or none: what counts is what it
    takes itself.

    Raises
    ------
    EntryScriptError
        When it takes neither.
    """
    own = _signature_of(function, follow_wrapped=False)
    arguments: dict[str, Any] = dict.fromkeys(names)
    if _binds(own, (), arguments):
        return partial(_call_by_name, function)
    if _binds(own, *_placed(signature, arguments)):
        return partial(_call_by_place, function, signature)
    raise EntryScriptError(
        f"run(): expected a decorator that takes what {_shown(signature)} takes, got one that "
        f"takes {own}; let it take *args and **kwargs"
    )


def _call_by_name(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    return function(**arguments)


def _call_by_place(
    function: Callable[..., Any], signature: Signature, arguments: dict[str, Any]
) -> Any:
    positional, named = _placed(signature, arguments)
    return function(*positional, **named)


def _placed(
    signature: Signature, arguments: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Put arguments into their places, as far as the parameters have some."""
    bound = signature.bind_partial()
    bound.arguments.update(arguments)
    return bound.args, bound.kwargs


def _binds(signature: Signature, positional: tuple[Any, ...], named: dict[str, Any]) -> bool:
    try:
        signature.bind(*positional, **named)
    except TypeError:
        return False
    return True


def _refuse_deferred(function: Callable[..., Any]) -> None:
    """Refuse what returns before it has done anything: a coroutine, a generator."""
    is_deferred = map(_is_deferred, (function, type(function).__call__))
    if any(is_deferred):
        raise EntryScriptError(
            "run(): expected a function that returns its answer, got one with `async` or `yield`; "
            "let it return the answer, by asyncio.run(...) where it has to await"
        )


def _is_deferred(function: Callable[..., Any]) -> bool:
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    )


def _is_of_conversion(error: Exception) -> bool:
    """Tell whether inference-schema could not turn the body into what run() takes."""
    return any(map(_converts, traceback.walk_tb(error.__traceback__)))


def _converts(step: tuple[FrameType, int]) -> bool:
    frame, _ = step
    return (frame.f_globals.get("__name__"), frame.f_code.co_name) == CONVERSION


def _shown(signature: Signature) -> str:
    text = f"run{signature}"
    return text if len(text) <= 100 else f"{text[:97]}..."
