"""The host of the user's entry script: a Python file with ``init()`` and ``run(raw_data)``.

The contract is that of Azure ML's inference server: ``init()`` is called once, before the service
is ready; ``run`` gets the body of each request as text, from several threads at once, and returns
something that JSON can express, or an HTTP response. Beyond it, ``init`` may return a ScoringModel,
which describes the rows to other routes, and ``run`` may take what the request asks for: see
`service.web.entry.run_function`.

Whatever fails at start-up is one sentence that names the file. What ``run`` raises passes through:
`service.web.error_responses` decides what a client hears of it.

Next: `service.web.entry`.
"""

import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from flask import Response

from service.container_limits import lack_of_room
from service.rows.json_rows import JsonRows
from service.scoring.request import ScoringRequest
from service.scoring.scoring_model import ScoringModel
from service.web.entry.azure_modules import count_raw, provide_azure_modules
from service.web.entry.body_texts import body_is, provide_read_json
from service.web.entry.run_function import RunFunction, ScriptCall
from service.web.errors import EntryScriptError

_numbers = count(1)
# As the server takes them: RFC 9110, sections 5.1 and 5.5.
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"[ \t\x21-\x7e\x80-\xff]*")


class EntryScript:
    """The user's file, loaded by its path.

    Parameters
    ----------
    path : Path
        A Python file that defines ``init()`` and ``run(raw_data)``.

    Attributes
    ----------
    path : Path
        The file's absolute path.
    ready : bool
        Whether ``init()`` has returned.
    model : ScoringModel or None
        What ``init()`` returned, if it was one.
    takes_request : bool
        Whether ``run`` gets what a request asks for.
    takes_http : bool
        Whether it gets the HTTP request as it is, after ``@rawhttp``.

    Raises
    ------
    EntryScriptError
        When the file cannot be loaded, does not define both functions, or no request could be
        handed to them.

    Examples
    --------
    A script that answers what it is sent:

    >>> from tempfile import mkdtemp
    >>> file = Path(mkdtemp()) / "echo.py"
    >>> _ = file.write_text("from json import loads as run; init = dict")
    >>> script = EntryScript(file)
    >>> script.init()
    >>> script.run("[[1, 2]]")
    [[1, 2]]
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.ready = False
        self.model: ScoringModel | None = None
        provide_azure_modules()
        provide_read_json()
        n_raw = count_raw()
        module = _load(self.path)
        self._init = _function(module, "init", self.path)
        if inspect.iscoroutinefunction(self._init):
            raise EntryScriptError(
                f"entry script {self.path}: init(): expected a plain function, got one with "
                "`async`, which nobody awaits; take the word away"
            )
        function = _function(_scored_by(module), "run", self.path)
        try:
            self._run = RunFunction(function, takes_http=count_raw() > n_raw)
        except EntryScriptError as error:
            raise EntryScriptError(f"entry script {self.path}: {error}") from None
        self.takes_request = self._run.takes_request
        self.takes_http = self._run.takes_http

    def init(self) -> None:
        """Call the script's ``init()``; the script is ready when that returns.

        Raises
        ------
        EntryScriptError
            When it fails.
        """
        with _failures_name(self.path, "init()"):
            returned = self._init()
        self.model = returned if isinstance(returned, ScoringModel) else None
        self.ready = True

    def warm_up(self) -> None:
        """Predict and explain the recorded example.

        Raises
        ------
        EntryScriptError
            When that fails: the model and the scoring explainer do not belong together.
        """
        if self.model is not None:
            with _failures_name(self.path, "the self-check"):
                self.model.self_check()

    def run(
        self,
        rows: JsonRows,
        request: ScoringRequest | None = None,
        environ: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the script's ``run`` with one request's rows and return its result as it is.

        A response is computed to its end, when it is a stream too, and closed.

        A script that takes the request too gets rows that came as CSV or tensors as they were
        read, which is what their JSON would hold; one that takes the body alone gets that JSON.

        Parameters
        ----------
        rows : str, bytes, dict or list
            The body, or what was read from it.
        request : ScoringRequest, optional
            What else is asked for; by default nothing.
        environ : mapping, optional
            The WSGI environment of the HTTP request.

        Raises
        ------
        EntryScriptError
            When the script tries to end the process.
        """
        process = os.getpid()
        call = ScriptCall(rows, request or ScoringRequest(), environ or {})
        try:
            with body_is(call.text):
                answer = self._run(call)
            if isinstance(answer, Response):
                _finish(answer)
        except BaseException as error:
            _end_if_child_of(process, error)
            if isinstance(error, Exception):
                raise
            # sys.exit(), or a panic of a library in Rust, must not take the worker's other requests
            # with it.
            did = f"failed with {error!r}"
            if isinstance(error, SystemExit):
                did = f"called sys.exit({error.code!r})"
            raise EntryScriptError(f"entry script {self.path}: run() {did}") from error
        _end_if_child_of(process, None)
        return answer


def _finish(response: Response) -> None:
    """Compute a response and close it here, where all that the script does is bounded.

    Raises
    ------
    ValueError
        When it has a header that cannot be sent.
    """
    response.make_sequence()
    response.close()
    response.close = lambda: None  # type: ignore[method-assign]
    response.headers.pop("Content-Length", None)  # the body is whole: its length is counted
    for name, value in response.headers:
        if not (HEADER_NAME.fullmatch(name) and HEADER_VALUE.fullmatch(value)):
            raise ValueError(
                f"run(): expected headers of HTTP, got {name!r} with the value {value!r}; leave it "
                "out, or encode it"
            )


def _end_if_child_of(process: int, error: BaseException | None) -> None:
    """End a process that ``run`` has forked and that did not end there: its parent answers."""
    if os.getpid() == process:
        return
    with suppress(Exception):  # whatever the script has made of them
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(_status_after(error))


def _status_after(error: BaseException | None) -> int:
    """Return the status with which Python ends after an error, of which it tells."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    traceback.print_exception(error)
    return 1


def _load(path: Path) -> ModuleType:
    # A name of its own, registered before the file runs: dataclasses and pickle look their module
    # up in sys.modules.
    name = f"entry_script_{next(_numbers)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise EntryScriptError(
            f"entry script {path}: expected a .py file that defines init() and run(raw_data), "
            "found none; set ENTRY_SCRIPT to the path of yours"
        )
    _make_neighbours_importable(path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    with _failures_name(path, "loading the file"):
        spec.loader.exec_module(module)
    return module


def _make_neighbours_importable(path: Path) -> None:
    # At the end, so that a neighbour never hides an installed package.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))


def _scored_by(module: ModuleType) -> ModuleType:
    """Return the script behind one that Azure ML's SDK has put before it, else the script."""
    behind = getattr(module, "driver_module", None)
    return behind if isinstance(behind, ModuleType) and hasattr(behind, "run") else module


def _function(module: ModuleType, name: str, path: Path) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if callable(function):
        return function
    found = f"a value of type {type(function).__name__}"
    if function is None:
        found = "nothing of that name"
    raise EntryScriptError(
        f"entry script {path}: expected a function {name}(), found {found}; "
        "define init() and run(raw_data) in it"
    )


@contextmanager
def _failures_name(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:  # sys.exit(0) while starting would look like success
        why = lack_of_room(error)
        reason = f"{type(error).__name__}: {error}{why and f'. {why}'}"
        raise EntryScriptError(f"entry script {path}: {doing} failed with {reason}") from error
