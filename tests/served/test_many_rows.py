"""Requests of many rows behind a real gunicorn: several threads, within what the service allows."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import serving, wait_until
from sklearn.datasets import load_diabetes
from sklearn.svm import SVR

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save

# Each piece takes 20 ms a row, and is noted with its process, its thread, and when it began and
# ended.
SCRIPT = """
import os, threading, time
from service.scoring import ScoringModel

class Slow(ScoringModel):
    def _explain_piece(self, rows):
        began = time.monotonic()
        time.sleep(0.02 * len(rows))
        found = super()._explain_piece(rows)
        line = f"{os.getpid()} {threading.get_ident()} {began} {time.monotonic()}\\n"
        with open(os.environ["PIECES"], "a") as pieces:
            pieces.write(line)
        return found

def init():
    global model
    model = Slow.load(os.environ["AZUREML_MODEL_DIR"])
    return model

def run(raw_data, request):
    return model.score(raw_data, request)
"""
X, y = load_diabetes(return_X_y=True)
ALL, MANY, ONE = (json.dumps(X[:n].tolist()) for n in (442, 120, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A support vector machine with its explainer."""
    folder = tmp_path_factory.mktemp("served") / "models"
    svr = SVR(C=100).fit(X, y)
    save(KernelScoringExplainer(TabularExplainer(svr, X)), folder, original_model=svr)
    (folder / "slow.py").write_text(SCRIPT, encoding="utf-8")
    return folder


def slow(folder, tmp_path, **settings):
    """Serve it with a script that notes each piece."""
    return serving(
        tmp_path,
        AZUREML_MODEL_DIR=str(folder),
        ENTRY_SCRIPT=str(folder / "slow.py"),
        PIECES=str(tmp_path / "pieces"),
        **settings,
    )


def pieces(tmp_path, since):
    """Return the pieces that began after a moment: who, from when, until when."""
    found = []
    for line in (tmp_path / "pieces").read_text(encoding="ascii").splitlines():
        process, thread, began, ended = line.split()
        if float(began) >= since:
            found.append(((process, thread), float(began), float(ended)))
    return found


def begins(found):
    """Return when each thread began, the first one first."""
    first = {}
    for who, began, _ in found:
        first[who] = min(began, first.get(who, began))
    return sorted(first.values())


def most_at_once(found, since=0.0):
    """Return how many pieces were at work at once when one began after a moment."""
    moments = [began for _, began, _ in found if began >= since]
    return max(sum(began <= moment < ended for _, began, ended in found) for moment in moments)


def test_many_rows_have_all_threads_and_the_same_bytes(folder, tmp_path):
    """Alone, a request has as many as ROW_THREADS allows in one worker of two, and with 1 it has
    none but its own; the answer is the same.
    """
    answers = {}
    for threads in (1, 3):
        with slow(folder, tmp_path, ROW_THREADS=str(threads)) as service:
            since = time.monotonic()
            answers[threads] = service.score(MANY)
            found = pieces(tmp_path, since)
        assert most_at_once(found) == threads
        assert len({who for who, _, _ in found}) == threads
    assert answers[1].status == 200
    assert answers[1].body == answers[3].body


def test_requests_in_all_workers_share_the_threads(folder, tmp_path):
    """A second one has half of them at once, in whichever worker it is; the helpers of the first go
    after the piece that they are at. Health routes are answered all the while.
    """
    with (
        slow(folder, tmp_path, ROW_THREADS="4", SLOTS="2") as service,
        ThreadPoolExecutor(2) as pool,
    ):
        since = time.monotonic()
        first = pool.submit(service.score, ALL)
        wait_until(lambda: len(begins(pieces(tmp_path, since))) == 4)
        second = pool.submit(service.score, ALL)
        wait_until(lambda: len(begins(pieces(tmp_path, since))) == 5)
        between = [service.ask("GET", "/ping").status for _ in range(3)]
        time.sleep(0.5)
        found = pieces(tmp_path, since)
        assert not first.done()
        assert [first.result().status, second.result().status] == [200, 200]
    met = begins(found)[4]
    until = max(ended for _, began, ended in found if began <= met)
    assert most_at_once(found, until) <= 4
    assert between == [200] * 3


def test_a_small_request_does_not_wait_for_a_big_one(folder, tmp_path):
    """It computes at once beside one that has all threads, in the same worker."""
    with slow(folder, tmp_path, WORKERS="1", SLOTS="2", ROW_THREADS="2") as service:
        big = threading.Thread(target=service.score, args=(MANY,))
        big.start()
        time.sleep(0.3)
        answers = [service.score(ONE).status for _ in range(3)]
        assert big.is_alive()
        big.join()
    assert answers == [200] * 3


def test_the_deadline_ends_the_work_of_all_threads(folder, tmp_path):
    """504 in time; no thread begins a piece after that, and the next request is answered."""
    with slow(folder, tmp_path, WORKERS="1", ROW_THREADS="3", DEADLINE_SECONDS="1") as service:
        since = time.monotonic()
        refused = service.score(ALL)
        time.sleep(0.5)  # longer than a piece
        ended, after = time.monotonic(), service.score(ONE)
        found = pieces(tmp_path, since)
        last = max(began for _, began, _ in found if began < ended)
    assert (refused.status, after.status) == (504, 200)
    assert len({who for who, _, _ in found}) >= 3
    assert last < since + 1.2
