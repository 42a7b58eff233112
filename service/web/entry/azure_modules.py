"""The modules that an entry script finds in Azure ML's inference server, and finds here too.

``azureml.contrib.services`` with its ``rawhttp``, ``AMLRequest`` and ``AMLResponse`` is replaced,
as that server does; ``azureml.core.model`` with ``Model.get_model_path`` is there where the package
azureml-core is not.

Next: :mod:`service.web.entry.body_texts`.
"""

import json
import sys
from collections.abc import Callable, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

from flask import Request, Response

from service.model_paths import find_model_path

F = TypeVar("F", bound=Callable[..., Any])
_decorated: list[Callable[..., Any]] = []


def rawhttp(function: F) -> F:
    """Ask for the HTTP request itself as the argument of ``run``; a decorator.

    Parameters
    ----------
    function : callable
        It stays as it is.

    Examples
    --------
    >>> @rawhttp
    ... def run(request):
    ...     return AMLResponse(request.method, 200)
    """
    _decorated.append(function)
    return function


def count_raw() -> int:
    """Return how many functions were decorated with ``@rawhttp`` so far."""
    return len(_decorated)


class AMLRequest(Request):
    """An HTTP request as ``@rawhttp`` gets it; for annotations."""


class AMLResponse(Response):
    """An HTTP response as an entry script makes it.

    Parameters
    ----------
    message : str, bytes or Any
        The body: text or bytes, with `json_str` anything that JSON can express; None is ``{}``.
    status_code : int
    response_headers : mapping of str to str, optional
        A comma separates the values of a header that comes several times.
    json_str : bool, default False
        Whether to write the message as JSON.
    run_function_failed : bool, default False
        For the header ``x-ms-run-function-failed``.

    Examples
    --------
    >>> AMLResponse({"a": 1}, 201, json_str=True).get_data()
    b'{"a": 1}'
    """

    def __init__(
        self,
        message: Any,
        status_code: int,
        response_headers: Mapping[str, str] = MappingProxyType({}),
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        if message is None:
            message, json_str = {}, True
        if json_str:
            super().__init__(json.dumps(message), status_code, mimetype="application/json")
        else:
            super().__init__(message, status_code)
        self.headers["x-ms-run-function-failed"] = str(run_function_failed)
        for name, values in response_headers.items():
            self.headers.setlist(name, list(map(str.strip, values.split(","))))


class Model:
    """A registered model, of which an entry script asks the path alone."""

    @staticmethod
    def get_model_path(model_name: str, version: int | None = None, _workspace: Any = None) -> str:
        """Return the path of a model below the service's model folder.

        Parameters
        ----------
        model_name : str
            The name of a file or folder in it. A folder of that name with one numbered folder for
            each version stands for the one file or folder in the newest of them.
        version : int, optional
            Another version than the newest.

        Raises
        ------
        FileNotFoundError
            When there is none.
        """
        return find_model_path(model_name, version)


class _Provider(MetaPathFinder, Loader):
    """Finds modules that consist of names given."""

    def __init__(self, modules: Mapping[str, Mapping[str, Any]]) -> None:
        self._modules = modules

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Find one of them; as packages, so that others can be in them."""
        if fullname not in self._modules:
            return None
        return spec_from_loader(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Fill it with its names."""
        vars(module).update(self._modules[module.__name__])


_REQUESTS = {"rawhttp": rawhttp, "AMLRequest": AMLRequest}
_RESPONSES = {"AMLResponse": AMLResponse}
# Before those that are installed, since `rawhttp` has to tell us.
_REPLACED = _Provider(
    {
        "azureml.contrib.services.aml_request": _REQUESTS,
        "azureml.contrib.services.aml_response": _RESPONSES,
        "azureml_inference_server_http.api.aml_request": _REQUESTS,
        "azureml_inference_server_http.api.aml_response": _RESPONSES,
    }
)
# Where nothing of that name is installed.
_MISSING = _Provider(
    {
        "azureml": {},
        "azureml.contrib": {},
        "azureml.contrib.services": {"rawhttp": rawhttp},
        "azureml.core": {"Model": Model},
        "azureml.core.model": {"Model": Model},
        "azureml_inference_server_http": {},
        "azureml_inference_server_http.api": {},
    }
)


def provide_azure_modules() -> None:
    """Let scripts import the modules of Azure ML's inference server."""
    if _REPLACED not in sys.meta_path:
        sys.meta_path.insert(0, _REPLACED)
        sys.meta_path.append(_MISSING)
