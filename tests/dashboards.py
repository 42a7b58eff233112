"""Explanations of rows of every kind, shown in dashboards that Flask's own client asks, or a server
shows.
"""

import json
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd

from service.dashboard import Dashboard
from service.dashboard.hosting.serving import create_dashboard_app, start_server
from service.dashboard.store import store_of
from service.explanations import ExplanationContext, GlobalExplanation, LocalExplanation

HOSTILE = ["</script><script>alert(1)</script>", "${7*7}`'\"", "\u202egnol " + "x" * 300]


@contextmanager
def served(dashboard, url_prefix=""):
    """Show a dashboard in a thread, and give its address."""
    app = create_dashboard_app(dashboard, url_prefix=url_prefix)
    with running(start_server(app, "127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.port}{url_prefix}/"


@contextmanager
def running(server):
    """Have a server answer in a thread, and close it."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


def asking(explanation, model=None, **options):
    """Return a function that asks a dashboard of an explanation: a call and its question."""
    return asking_app(create_dashboard_app(Dashboard(store_of(explanation), model, **options)))


def asking_app(app):
    client = app.test_client()

    def ask(call, status=200, **question):
        if call == "meta":
            return client.get("/api/meta").json
        answer = client.post(f"/api/{call}", json=question)
        assert answer.status_code == status, answer.data[:500]
        return answer.json if answer.mimetype == "application/json" else answer.data

    ask.client = client
    return ask


def mixed_rows(n=240, seed=0):
    """Rows of every kind, with hostile names, gaps, a constant and numbers of every size."""
    random = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            HOSTILE[0]: random.normal(size=n),
            HOSTILE[1]: random.choice(["red", "blue", 'gr"een'], n),
            HOSTILE[2]: random.integers(0, 7, n),
            "tiny": random.normal(size=n) * 1e-12,
            "huge": random.normal(size=n) * 1e12,
            "constant": np.full(n, 3.5),
            "flag": random.integers(0, 2, n).astype(bool),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 90, n), "D"),
            "gaps": np.where(random.random(n) < 0.3, np.nan, random.normal(size=n)),
            "kind": pd.Categorical(random.choice(["a", "b"], n), categories=["a", "b", "unused"]),
        },
        index=[f"row {i}" for i in range(n)],
    )
    rows.loc[rows.index[:5], HOSTILE[1]] = None
    return rows


def explained(task="binary", n=240, seed=0, labels=True):
    """Return a global explanation of mixed rows, whose numbers are drawn."""
    random = np.random.default_rng(seed + 1)
    rows = mixed_rows(n, seed)
    n_classes = {"binary": 2, "multiclass": 3, "regression": 1}[task]
    values = random.normal(size=(n_classes, n, rows.shape[1])) * np.arange(1, rows.shape[1] + 1)
    context = ExplanationContext(row_labels=rows.index, eval_data=rows)
    if task == "regression":
        true = random.normal(size=n)
        predicted = true + random.normal(size=n) * (1 + rows["flag"].to_numpy())
        context = replace(context, eval_y_predicted=predicted, model_task="regression")
        local = LocalExplanation.from_values(
            values[0], features=list(rows), expected_values=0.5, output="prediction"
        )
    else:
        scores = np.exp(random.normal(size=(n, n_classes)))
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        names = ["no", "yes", "may be"][:n_classes]
        wrong = random.random(n) < np.where(rows["flag"], 0.5, 0.1)
        predicted = probabilities.argmax(axis=1)
        true = np.where(wrong, (predicted + 1) % n_classes, predicted)
        if task == "binary":
            values[0] = -values[1]
        context = replace(
            context,
            eval_y_predicted=np.array(names)[predicted],
            eval_y_predicted_proba=probabilities,
            model_task="classification",
            class_labels=names,
        )
        true = np.array(names)[true]
        local = LocalExplanation.from_values(
            values,
            features=list(rows),
            classes=names,
            expected_values=np.full(n_classes, 0.25),
            axes=("class", "row", "feature"),
            output="probability",
        )
    if labels:
        context = replace(context, true_labels=pd.Series(true, index=rows.index))
    return GlobalExplanation(local.importances, context)


def of_many_classes(random, n_classes, n_rows, n_features):
    """Return the names of many classes, and importances of all of them."""
    names = [f"class {number}" for number in range(n_classes)]
    local = LocalExplanation.from_values(
        random.normal(size=(n_classes, n_rows, n_features)),
        classes=names,
        expected_values=np.zeros(n_classes),
        axes=("class", "row", "feature"),
        output="margin",
    )
    return names, local.importances


def unpacked(content):
    """Read an answer of api/points as the page does."""
    length = int.from_bytes(content[:4], "little")
    heading = json.loads(content[4 : 4 + length])
    arrays, start = {}, 4 + length
    assert start % 4 == 0
    for part in heading["arrays"]:
        dtype = {"u32": "<u4", "f32": "<f4"}[part["type"]]
        arrays[part["name"]] = np.frombuffer(content, dtype, part["length"], start)
        start += 4 * part["length"]
    assert start == len(content)
    return heading, arrays
