"""``pandas.read_json`` as scripts written for Azure ML call it: with the text of a body.

Since pandas 3 it takes every text for a path, so that such a script answered no request. Here the
body, and whatever else begins as JSON, is read as it was before; other texts are paths. A body is
none: before pandas 3 a client could name a file of the server, or an address.

Next: :mod:`service.web.lifecycle`.
"""

import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any

import pandas as pd

from service.errors import PayloadError

_BEGINS_AS_JSON = re.compile(r"\s*[\[{]")
_of_pandas = pd.read_json
_body: ContextVar[Callable[[], str]] = ContextVar("body", default=str)


@contextmanager
def body_is(text: Callable[[], str]) -> Iterator[None]:
    """Tell how the text of the body is had, while a script reads it.

    Examples
    --------
    >>> provide_read_json()
    >>> with body_is(lambda: "/etc/passwd"):
    ...     pd.read_json("/etc/passwd")
    Traceback (most recent call last):
        ...
    service.errors.PayloadError: Body: pandas.read_json reads no rows in it: ...
    """
    token = _body.set(text)
    try:
        yield
    finally:
        _body.reset(token)


@wraps(_of_pandas)
def _read_json(path_or_buf: Any, *arguments: Any, **options: Any) -> Any:
    if not (isinstance(path_or_buf, str) and _is_text(path_or_buf)):
        return _of_pandas(path_or_buf, *arguments, **options)
    _say_what_is_guessed()
    try:
        return _of_pandas(io.StringIO(path_or_buf), *arguments, **options)
    except ValueError as error:
        raise PayloadError(f"Body: pandas.read_json reads no rows in it: {error}") from error


def _is_text(text: str) -> bool:
    return _BEGINS_AS_JSON.match(text) is not None or text == _body.get()()


@cache
def _say_what_is_guessed() -> None:
    logging.getLogger(__name__).warning(
        "The entry script reads rows by pandas.read_json, which guesses types: the text '02139' "
        "becomes the number 2139. scoring_model.score(raw_data) checks rows against the recorded "
        "columns."
    )


def provide_read_json() -> None:
    """Let scripts read the text of a body by ``pandas.read_json``.

    Examples
    --------
    >>> provide_read_json()
    >>> pd.read_json('{"a": {"0": 1.5}}').loc[0, "a"].item()
    1.5
    """
    pd.read_json = _read_json
