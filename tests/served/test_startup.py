"""Workers start after the fork, one at a time and within a bound: whatever a model or ``init()``
starts there lives, and what hangs there ends.
"""

import http.client
import os
import signal
import time

import pandas as pd
import psutil
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from serving import (
    LOADING,
    errors_in,
    free_port,
    loading,
    serving,
    start_gunicorn,
    start_in_vain,
    stop,
    wait_until,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from xgboost import XGBClassifier

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save

FAILED = 3
ROWS = load_iris(as_frame=True).data[50:].set_axis(list("abcd"), axis=1)
LABELS = load_iris().target[50:] - 1
BY_CATEGORY = ROWS.assign(a=pd.cut(ROWS["a"], 3, labels=["low", "mid", "high"]))
LGBM = {"n_estimators": 5, "verbose": -1}


def in_threads():
    """A pipeline that computes in two processes of joblib."""
    parts = [("scaled", StandardScaler()), ("squared", PolynomialFeatures(2))]
    return make_pipeline(FeatureUnion(parts, n_jobs=2), LogisticRegression(max_iter=1000))


# Models that start threads when they are read or asked, with the rows and the engine.
MODELS = {
    "LightGBM": (lambda: LGBMClassifier(**LGBM), ROWS, "auto"),
    "LightGBM called": (lambda: LGBMClassifier(**LGBM), ROWS, "kernel"),
    "LightGBM with categories": (lambda: LGBMClassifier(**LGBM), BY_CATEGORY, "auto"),
    "LightGBM calibrated": (
        lambda: CalibratedClassifierCV(LGBMClassifier(**LGBM), cv=2),
        ROWS,
        "auto",
    ),
    "LightGBM and XGBoost": (
        lambda: VotingClassifier(
            [("light", LGBMClassifier(**LGBM)), ("x", XGBClassifier(n_estimators=5))], voting="soft"
        ),
        ROWS,
        "auto",
    ),
    "XGBoost": (lambda: XGBClassifier(n_estimators=5), ROWS, "auto"),
    "CatBoost": (
        lambda: CatBoostClassifier(iterations=5, verbose=False, allow_writing_files=False),
        ROWS,
        "auto",
    ),
    "HistGradientBoosting": (lambda: HistGradientBoostingClassifier(max_iter=5), ROWS, "kernel"),
    "n_jobs": (in_threads, ROWS, "auto"),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize(("name", "workers"), [("LightGBM", 1), *((name, 2) for name in MODELS)])
def test_models_that_start_threads_are_served(name, workers, tmp_path):
    """They are ready, and answer what they answer here.

    A worker alone loads as each of two does, one after the other.
    """
    make, rows, engine = MODELS[name]
    model = make().fit(rows, LABELS)
    explainer = TabularExplainer(model, rows[::3], engine=engine)
    save(KernelScoringExplainer(explainer), tmp_path / "models", original_model=model)

    settings = {"AZUREML_MODEL_DIR": str(tmp_path / "models"), "WORKERS": str(workers)}
    with serving(tmp_path, **settings) as service:
        for _ in range(4):
            answer = service.score(rows[:3].to_json(orient="records")).json()
            assert answer["predictions"] == model.predict(rows[:3]).tolist()
            assert len(answer["local_importance_values"]) == 2


SCRIPTS = {
    "a thread": """
import threading, time
ticks = []
def count():
    while True:
        ticks.append(1)
        time.sleep(0.01)
def init():
    threading.Thread(target=count, daemon=True).start()
def run(_):
    before = len(ticks)
    time.sleep(0.2)
    return len(ticks) > before
""",
    "a pool": """
from concurrent.futures import ThreadPoolExecutor
def init():
    global pool
    pool = ThreadPoolExecutor(2)
    list(pool.map(str, [1, 2]))
def run(_):
    return list(pool.map(str, [1, 2, 3], timeout=5)) == ["1", "2", "3"]
""",
    "processes": """
import multiprocessing
def init():
    global pool
    pool = multiprocessing.get_context("fork").Pool(1)
def run(_):
    return pool.apply_async(str, [1]).get(timeout=5) == "1"
""",
    "a connection": """
import sqlite3
def init():
    global database
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("create table kept (value)")
def run(_):
    database.execute("insert into kept values (1)")
    return database.execute("select count(*) from kept").fetchone()[0] > 0
""",
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", SCRIPTS)
def test_what_init_starts_lives_in_the_workers(name, workers, tmp_path):
    """As in Azure's server, which calls init() where it calls run()."""
    script = tmp_path / "starts.py"
    script.write_text(SCRIPTS[name])
    with serving(tmp_path, ENTRY_SCRIPT=str(script), WORKERS=str(workers)) as service:
        assert [service.score("[]").json() for _ in range(6)] == [True] * 6


HANGS = {
    "waiting": "import threading\ndef init():\n    threading.Event().wait()\n",
    "in init, with the interpreter": (
        "import ctypes\ndef init():\n    ctypes.PyDLL('libc.so.6').sleep(600)\n"
    ),
    "while it is imported": "import time\ntime.sleep(600)\ndef init(): pass\n",
}


@pytest.mark.parametrize("name", HANGS)
def test_a_start_that_hangs_ends_with_a_sentence_and_the_stacks(name, tmp_path):
    """Within START_SECONDS, or a few more where the interpreter is held; the exit code is a
    failure.
    """
    script = tmp_path / "hangs.py"
    script.write_text(HANGS[name] + "def run(_): pass\n")

    status, log = start_in_vain(tmp_path, ENTRY_SCRIPT=str(script), START_SECONDS="2")

    assert status == FAILED
    assert any("ready" in error for error in errors_in(log))
    assert f'File "{script}", line' in log
    assert log.count("Booting worker") <= 2


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"GUNICORN_CMD_ARGS": "--preload -k gthread"}, "--worker-class"),
        (
            {"GUNICORN_CMD_ARGS": "--http-protocols h2,h1 --http2-cleartext both"},
            "--http-protocols",
        ),
        ({"GUNICORN_CMD_ARGS": "--daemon"}, "--daemon"),
        ({"SCRIPT_NAME": "/models"}, "SCRIPT_NAME"),
    ],
)
def test_what_would_change_how_gunicorn_works_is_refused_at_start(given, named, tmp_path):
    """In one line, before a model is loaded or a port is opened."""
    status, log = start_in_vain(tmp_path, **given)
    assert status == 1
    (line,) = log.splitlines()
    assert named in line


def test_a_worker_killed_while_it_starts_ends_the_service(tmp_path):
    """Out of memory, most likely: the next one would end so too."""
    with loading(tmp_path) as (process, worker):
        os.kill(worker, signal.SIGKILL)
        assert process.wait(timeout=30) == FAILED
    assert any("ended before it was ready" in error for error in errors_in(log_of(tmp_path)))


ONLY_ONCE = """
from pathlib import Path
def init():
    Path({taken!r}).touch(exist_ok=False)
def run(_): pass
"""


def test_a_service_that_never_was_whole_ends(tmp_path):
    """Whoever starts it learns that not all of its workers can: one of them is not enough."""
    script = tmp_path / "only_once.py"
    script.write_text(ONLY_ONCE.format(taken=str(tmp_path / "taken")))
    status, log = start_in_vain(tmp_path, ENTRY_SCRIPT=str(script), WORKERS="2")
    assert status == FAILED
    assert log.count("is ready") == 1
    assert any("FileExistsError" in error for error in errors_in(log))


NOT_ALWAYS = """
import os
from pathlib import Path
fails = Path({fails!r})
def init():
    if fails.exists():
        raise ConnectionError("no feature store")
def run(raw_data):
    if raw_data == '"end"':
        os._exit({code})
    return os.getpid()
"""


@pytest.mark.parametrize("code", [1, 3, 4])
def test_a_worker_whose_place_nobody_can_take_yet_ends_alone(code, tmp_path):
    """Whatever it ended with: the others serve on, and its place is taken when that is possible."""
    fails, script = tmp_path / "fails", tmp_path / "not_always.py"
    script.write_text(NOT_ALWAYS.format(fails=str(fails), code=code))
    with serving(tmp_path, ENTRY_SCRIPT=str(script), WORKERS="2") as service:
        fails.touch()
        with pytest.raises(http.client.RemoteDisconnected):
            service.score('"end"')
        wait_until(lambda: "the others serve on" in service.log())
        workers = {service.score("1").json() for _ in range(6)}
        assert len(workers) == 1
        fails.unlink()
        wait_until(lambda: service.log().count("is ready") == 3)
        wait_until(lambda: workers < {service.score("1").json()} | workers)
    assert service.log().count("the others serve on") <= 2


def test_ctrl_c_while_it_starts_is_no_failure(tmp_path):
    """Nobody is told of workers that did not get ready."""
    with loading(tmp_path) as (process, _):
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert errors_in(log_of(tmp_path)) == []


SLOW_BIRTH = """
import time
from gunicorn import util
name_process = util._setproctitle
def linger(title):
    name_process(title)
    if "worker" in title:
        time.sleep(1)
util._setproctitle = linger
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_hears_what_came_right_after_its_birth(number, tmp_path):
    """It has its parent's handlers then, which would lose the signal: it would load on, until it is
    killed half a minute later.
    """
    (tmp_path / "sitecustomize.py").write_text(SLOW_BIRTH)
    (tmp_path / "slow.py").write_text(LOADING.format(started=str(tmp_path / "started")))
    settings = {"ENTRY_SCRIPT": str(tmp_path / "slow.py"), "PYTHONPATH": str(tmp_path)}
    with (tmp_path / "service.log").open("wb") as log:
        process = start_gunicorn(log, PORT=str(free_port()), WORKERS="1", **settings)
    try:
        wait_until(psutil.Process(process.pid).children)
        os.killpg(process.pid, number)
        assert process.wait(timeout=20) == 0
    finally:
        stop(process)
    assert not (tmp_path / "started").exists()
    assert errors_in(log_of(tmp_path)) == []


def log_of(folder):
    return (folder / "service.log").read_text()


def test_who_shares_a_port_listens_when_it_is_ready(tmp_path):
    """A replica that still loads takes no request away from the one that serves."""
    folders = [tmp_path / "ready", tmp_path / "loading"]
    scripts = [folder / "answers.py" for folder in folders]
    for folder, script, seconds in zip(folders, scripts, (0, 4), strict=True):
        folder.mkdir()
        script.write_text(
            f"import time\ndef init():\n    time.sleep({seconds})\n"
            f"def run(_): return {folder.name!r}\n"
        )
    shared = {"PORT": str(free_port()), "REUSE_PORT": "1", "WORKERS": "1"}
    with serving(folders[0], ENTRY_SCRIPT=str(scripts[0]), **shared) as first:
        with (folders[1] / "service.log").open("wb") as log:
            second = start_gunicorn(log, ENTRY_SCRIPT=str(scripts[1]), **shared)
        try:
            wait_until(lambda: "Booting worker" in log_of(folders[1]))
            until = time.monotonic() + 2
            while time.monotonic() < until:
                assert first.score("[]").json() == "ready"
            wait_until(lambda: "is ready" in log_of(folders[1]))
            wait_until(lambda: first.score("[]").json() == "loading")
        finally:
            assert stop(second) == 0


def test_one_worker_starts_at_a_time(tmp_path):
    """Loading takes more memory than having loaded."""
    script, times = tmp_path / "slow.py", tmp_path / "times"
    script.write_text(
        f"import time\ndef init():\n    with open({str(times)!r}, 'a') as file:\n"
        "        for word in ('begin', 'end'):\n"
        "            print(word, file=file, flush=True)\n            time.sleep(0.5)\n"
        "def run(_): pass\n"
    )
    with serving(tmp_path, ENTRY_SCRIPT=str(script), WORKERS="3") as service:
        assert len(psutil.Process(service.process.pid).children()) == 3
    assert times.read_text().split() == ["begin", "end"] * 3
