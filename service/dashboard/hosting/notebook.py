"""A dashboard in a notebook: a server in this process, and a frame in the page.

Next: :mod:`service.dashboard.hosting.snapshot`.
"""

from __future__ import annotations

import html
import secrets
import sys
import threading
import warnings
from dataclasses import replace
from typing import Any

from service.dashboard.dashboard import Dashboard
from service.dashboard.hosting.serving import create_dashboard_app, start_server
from service.dashboard.store import store_of
from service.engines.row_explainer import RowExplainer
from service.explanations.local_explanation import LocalExplanation
from service.rows.tables import as_table
from service.scoring.explainer import KernelScoringExplainer
from service.scoring.scoring_model import ScoringModel

HOST = "127.0.0.1"
# Notebooks are shown by many addresses; the page's own holds a token that nobody guesses.
ANCESTORS = "* vscode-webview: vscode-file:"
NO_EXPLAINER = (
    "The explanation does not know its explainer any more, as after loading it: pass explainer=."
)
NO_MODEL = "No model was given: pass it to ask what if."


class ExplanationDashboard:
    """Shows an explanation below the cell of a notebook, or at a local address.

    A server in this process answers until :meth:`stop` or the end of the process; its address
    holds a token. A notebook that runs elsewhere reaches it by a proxy, as jupyter-server-proxy:
    pass its address as `public_url`, with ``{port}`` for the port.

    Parameters
    ----------
    explanation : LocalExplanation or GlobalExplanation
        With local importances.
    model : object, optional
        The fitted model, to be asked what if.
    dataset : table, optional
        The rows that were explained; by default those that the explanation knows.
    true_y : array-like of shape (n_rows,), optional
        What was to be predicted.
    explainer : object, optional
        The explainer that made the explanation; by default the one that it knows.
    positive : object, optional
        The positive class of a binary task, by its name; the last one by default.
    port : int, default 0
        Of the server; 0 for any that is free.
    public_url : str, optional
        Where a proxy shows the server, as ``https://hub.example.com/user/me/proxy/{port}/``.
    datasetX, trueY : optional
        Older names of `dataset` and `true_y`.
    **others
        Options of other dashboards, as ``locale``; they have no effect, and a warning says so.

    Attributes
    ----------
    url : str

    Raises
    ------
    TypeError
        When it is no explanation.
    ValueError
        When there are more or fewer rows than were explained.

    Examples
    --------
    >>> from service.dashboard import ExplanationDashboard
    >>> from service.explanations import LocalExplanation
    >>> local = LocalExplanation.from_values([[1.0, -2.0]], expected_values=5.0)
    >>> dashboard = ExplanationDashboard(local, dataset=[[3.0, 4.0]], true_y=[4.0])
    >>> dashboard.url.startswith("http://127.0.0.1:")
    True
    >>> dashboard.stop()
    """

    def __init__(
        self,
        explanation: LocalExplanation,
        model: Any = None,
        dataset: Any = None,
        true_y: Any = None,
        *,
        explainer: Any = None,
        positive: Any = None,
        port: int = 0,
        public_url: str | None = None,
        **others: Any,
    ) -> None:
        if not isinstance(explanation, LocalExplanation):
            raise TypeError(
                "ExplanationDashboard: expected a LocalExplanation or GlobalExplanation, got "
                f"{type(explanation).__name__}; explain_local and explain_global make them."
            )
        rows = others.pop("datasetX", None) if dataset is None else dataset
        labels = others.pop("trueY", None) if true_y is None else true_y
        if others:
            told = ", ".join(sorted(others))
            warnings.warn(f"ExplanationDashboard: {told} has no effect here.", stacklevel=2)
        scoring, why = _find_scoring_model(explanation, model, explainer)
        shown = _with_data(explanation, rows, labels)
        self._dashboard = Dashboard(store_of(shown), scoring, positive=positive, why_no_model=why)
        token = secrets.token_urlsafe(16)
        app = create_dashboard_app(
            self._dashboard, url_prefix=f"/{token}", hosts=None, frame_ancestors=ANCESTORS
        )
        self._server = start_server(app, HOST, port)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        place = public_url or f"http://{HOST}:{{port}}/"
        self.url = f"{place.replace('{port}', str(self._server.port)).rstrip('/')}/{token}/"
        self._show()

    def __repr__(self) -> str:
        """Tell where it is."""
        return f"<ExplanationDashboard at {self.url}>"

    def _repr_html_(self) -> str:
        """Draw a frame, with the address beside it for pages that cannot reach it."""
        url = html.escape(self.url, quote=True)
        return (
            f'<iframe src="{url}" title="Explanation dashboard" '
            'style="width:100%;height:800px;border:0"></iframe>'
            f'<p>Nothing to see? This page cannot reach <a href="{url}" target="_blank" '
            f'rel="noopener">{url}</a>: open it on the machine that runs the notebook, or pass '
            "public_url= with the address of a proxy. "
            "A file that needs no server: python -m service snapshot.</p>"
        )

    def _show(self) -> None:
        """Show the frame in a notebook; elsewhere say where to look."""
        display = sys.modules.get("IPython.display")
        shell = sys.modules.get("IPython")
        if display is not None and shell is not None and shell.get_ipython() is not None:
            display.display(self)

    def stop(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()


def _find_scoring_model(
    explanation: LocalExplanation, model: Any, explainer: Any
) -> tuple[ScoringModel | None, str]:
    """Put the model and its explainer together; else say why nobody can be asked."""
    if model is None:
        return None, NO_MODEL
    if explainer is None:
        explainer = _find_explainer(explanation)
    if explainer is None:
        return None, NO_EXPLAINER
    return ScoringModel(model, KernelScoringExplainer(explainer)), ""


class _Known:
    """What a scoring explainer is made from."""

    def __init__(self, row_explainer: RowExplainer) -> None:
        self.row_explainer = row_explainer


def _find_explainer(explanation: LocalExplanation) -> Any:
    """Return the explainer that an explanation asks for predictions, where it still does."""
    asks = getattr(explanation.context.ask, "func", None)
    known = getattr(asks, "__self__", None)
    return _Known(known) if isinstance(known, RowExplainer) else None


def _with_data(explanation: LocalExplanation, rows: Any, labels: Any) -> LocalExplanation:
    """Return the explanation with rows and true values, as many as were explained."""
    context = explanation.context
    if rows is not None:
        n_rows = len(explanation) * (not context.is_one_row)
        context = replace(context, eval_data=_take_rows("dataset", rows, n_rows))
    if labels is not None:
        labels = _take_rows("true_y", labels, len(explanation))
        context = replace(context, true_labels=labels)
    return replace(explanation, context=context)


def _take_rows(name: str, table: Any, n_rows: int) -> Any:
    """Return a table of so many rows; 0 for any."""
    taken = table if hasattr(table, "tocsr") else as_table(table)
    n = taken.shape[0] if hasattr(taken, "shape") else len(taken)
    if n_rows and n != n_rows:
        raise ValueError(f"{name}: expected {n_rows} rows, those that were explained, got {n}.")
    return taken
