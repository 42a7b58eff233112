"""One file of a dashboard, which needs no server: the page, with the answers that are frozen in it.

A browser loads modules from one file by an import map: each is a ``data:`` address there, under
the name by which the others import it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.dashboard.answers import ANSWERS, Body
from service.dashboard.dashboard import Dashboard
from service.dashboard.errors import DashboardError, UnavailableError
from service.dashboard.meta import describe_dashboard
from service.dashboard.model_access import OwnAccess
from service.dashboard.questions import Question
from service.dashboard.routes import STATIC
from service.strict_json import strict_json

ALL = {"name": "All data"}
N_FEATURES = 20
N_ROWS = 50
N_OUTPUTS = 10
MOST_POINTS = 2000
REASON = "This is a snapshot without a model: serve the dashboard to ask what if."
IMPORT = re.compile(r'((?:from|import)\s+)"\./([\w.-]+\.js)"')
Frozen = tuple[str, dict[str, Any]]


def write_snapshot(dashboard: Dashboard, file: Path) -> int:
    """Write a dashboard into one file of HTML.

    Parameters
    ----------
    dashboard : Dashboard
    file : Path

    Returns
    -------
    int
        Its bytes.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from service.dashboard import open_dashboard
    >>> from service.explanations import LocalExplanation, save_explanation
    >>> place = Path(mkdtemp())
    >>> local = LocalExplanation.from_values([[1.0, -2.0]], expected_values=5.0)
    >>> dashboard = open_dashboard(save_explanation(local, place / "saved"))
    >>> write_snapshot(dashboard, place / "snapshot.html") < 1_000_000
    True
    """
    content = make_snapshot(dashboard).encode()
    file.write_bytes(content)
    return len(content)


def make_snapshot(dashboard: Dashboard) -> str:
    """Return a dashboard as one page of HTML."""
    data = strict_json(_freeze(dashboard))
    # Within a script element only these three begin markup; in JSON they stand in texts alone.
    safe = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    snapshot = f'<script type="application/json" id="snapshot">{safe}</script>'
    modules = _inline_modules()
    imports = json.dumps({"imports": modules}).replace("<", "\\u003c")
    start = 'import "dashboard/main.js";'
    policy = _policy([imports, start])
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    page = re.sub(r"\s*<link rel=\"stylesheet\"[^>]*>", "", page)
    page = re.sub(r"\s*<script [^>]*src=[^>]*></script>", "", page)
    style = f"<style>{_read_style()}</style>"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">{style}'
    body = (
        f'{snapshot}<script type="importmap">{imports}</script>'
        f'<script type="module">{start}</script>'
    )
    return page.replace("</head>", f"{head}</head>").replace("</body>", f"{body}</body>")


def _read_style() -> str:
    file = STATIC / "app.css"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _inline_modules() -> dict[str, str]:
    """Return each module of the page as an address that holds it, by the name that imports it."""
    modules = {}
    for file in sorted(STATIC.glob("*.js")):
        text = IMPORT.sub(r'\1"dashboard/\2"', file.read_text(encoding="utf-8"))
        coded = base64.b64encode(text.encode()).decode()
        modules[f"dashboard/{file.name}"] = f"data:text/javascript;base64,{coded}"
    return modules


def _policy(scripts: list[str]) -> str:
    """Allow the scripts of this file and nothing else, and no request to anybody."""
    hashes = []
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        hashes.append(f"'sha256-{digest}'")
    style = base64.b64encode(hashlib.sha256(_read_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src data: {' '.join(hashes)}; style-src 'sha256-{style}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _freeze(dashboard: Dashboard) -> dict[str, Any]:
    """Answer the questions of a snapshot, and say what it leaves out."""
    meta = json.loads(strict_json(describe_dashboard(dashboard)))
    for name in ("predict", "explain", "ice", "pdp"):
        meta["capabilities"][name] = {"ok": False, "reason": REASON}
    asking = OwnAccess.of(1).of_request({})
    answers = []
    for call, question in _list_questions(dashboard, meta):
        asked = dict(question)
        if call == "points" and dashboard.store.n_rows > MOST_POINTS:
            asked["max"] = MOST_POINTS
        try:
            answer = ANSWERS[call](dashboard, Question(asked), asking)
        except DashboardError:
            continue  # what the explanation does not know; its capability says so
        frozen = _encode(answer) if isinstance(answer, Body) else answer
        answers.append({"call": f"api/{call}", "question": question, "answer": frozen})
    return {"meta": meta, "answers": answers, "left_out": _say_left_out(dashboard)}


def _encode(body: Body) -> dict[str, str]:
    return {"base64": base64.b64encode(b"".join(body.pieces)).decode()}


def _say_left_out(dashboard: Dashboard) -> list[str]:
    store = dashboard.store
    said = [REASON, "All numbers are of all rows; other cohorts need a server."]
    if len(store.features) > N_FEATURES:
        said.append(
            f"Pictures of {N_FEATURES} of {len(store.features)} features, the most important ones."
        )
    if store.n_outputs > N_OUTPUTS:
        said.append(f"Importances of the first {N_OUTPUTS} of {store.n_outputs} outputs.")
    if store.n_rows > N_ROWS:
        said.append(f"The first {N_ROWS} of {store.n_rows} rows one by one.")
    if store.n_rows > MOST_POINTS:
        said.append("Points are counted in a grid.")
    return said


def _list_questions(dashboard: Dashboard, meta: dict[str, Any]) -> Iterator[Frozen]:
    """Yield each call with the question that is frozen."""
    outputs = range(min(N_OUTPUTS, len(meta["outputs"])))
    every = {"cohorts": [ALL]}
    yield "cohorts", every
    yield "performance", every
    for position in outputs:
        yield "performance", {"class": position, **every}
    for choice in ("all", *outputs):
        yield "importance", {"class": choice, **every, "top": N_FEATURES}
    for choice in outputs:
        boxes = {"class": choice, **every, "top": N_FEATURES, "quantiles": True}
        yield "importance", boxes
        yield "importance", {**boxes, "swarm": True}
    positions = _find_largest(dashboard)
    named = [f"x{position}" for position in positions]
    for name in [*named, *(column["id"] for column in meta["columns"])]:
        yield "columns", {"columns": [name]}
        yield "histogram", {"cohort": ALL, "x": name}
    for position in positions:
        for output in outputs:
            y = f"phi{position}" + f".{output}" * (output > 0)
            yield "points", {"cohort": ALL, "x": f"x{position}", "y": y}
    yield "rows", {"cohort": ALL, "page": 0, "size": N_ROWS}
    for row in range(min(N_ROWS, dashboard.store.n_rows)):
        for position in outputs:
            yield "row", {"class": position, "rows": [row]}
    yield "errortree", {"cohort": ALL}


def _find_largest(dashboard: Dashboard) -> list[int]:
    question = Question({"cohorts": [ALL], "top": N_FEATURES})
    try:
        told = ANSWERS["importance"](dashboard, question, OwnAccess.of(1).of_request({}))
    except UnavailableError:
        return []
    return [feature["position"] for feature in told["features"]]
