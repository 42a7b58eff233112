"""The rows of a request in pieces and threads, without a server; tests/served/test_many_rows.py has
them behind one.
"""

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVR

from service.engines.called.foreign_code import takes_threads
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel, ScoringRequest
from service.scoring.request import Helpers
from service.scoring.row_pieces import explain_pieces
from service.web.computations import Computations, FairHelpers
from service.web.request_limits import Gate, Load

X, y = load_diabetes(return_X_y=True)
ROWS = np.arange(200)


class Threads(Helpers):
    """As many helpers as are said, which are told what they wait for."""

    def __init__(self, most, seconds_a_row=1.0):
        super().__init__()
        self.n_most, self.threads = most, []
        self.learn(seconds_a_row)

    def most(self):
        return self.n_most

    def start(self, work):
        self.threads.append(threading.Thread(target=work))
        self.threads[-1].start()

    def join(self):
        for thread in self.threads:
            thread.join()


def explain(function, helpers, rows=ROWS, may_share=True, **options):
    """Explain rows by a function that sleeps, and wait for all threads."""
    request = ScoringRequest(helpers=helpers, **options)
    try:
        return explain_pieces(function, rows, request, may_share=lambda: may_share)
    finally:
        helpers.join()


class Watched(np.ndarray):
    """An array that can be referred to weakly, and so can its views."""


class Work:
    """A function of rows that notes who called it."""

    def __init__(self, seconds=0.002, refused=()):
        self.seconds, self.refused = seconds, refused
        self.lock, self.n_inside, self.most_inside = threading.Lock(), 0, 0
        self.callers, self.sizes = set(), []

    def __call__(self, rows):
        with self.lock:
            self.n_inside += 1
            self.most_inside = max(self.most_inside, self.n_inside)
            self.callers.add(threading.get_ident())
            self.sizes.append(len(rows))
        time.sleep(self.seconds * len(rows))
        with self.lock:
            self.n_inside -= 1
        if refused := {*self.refused} & {*rows.tolist()}:
            raise ValueError(f"refused {min(refused)}")
        return rows


@pytest.mark.parametrize("n_helpers", [0, 1, 3])
def test_each_row_is_explained_once_and_in_order(n_helpers):
    """By as many threads as there may be."""
    work, helpers = Work(), Threads(n_helpers)
    found = explain(work, helpers)
    assert np.concatenate(found).tolist() == ROWS.tolist()
    assert work.most_inside == len(work.callers) == 1 + n_helpers
    assert len(helpers.threads) == n_helpers


def test_a_few_rows_are_dealt_evenly():
    """Four rows that take long and two threads: two rows each, a row at a time."""
    work, helpers = Work(0.1), Threads(1)
    explain(work, helpers, ROWS[:4])
    assert (work.sizes, len(work.callers)) == ([1] * 4, 2)


@pytest.mark.parametrize(
    ("n_rows", "seconds", "may_share"), [(1, 1.0, True), (5, 1e-6, True), (200, 1.0, False)]
)
def test_no_thread_is_woken_for_nothing(n_rows, seconds, may_share):
    """Not for one row, nor for rows that take no time, nor for what is not made for threads."""
    work, helpers = Work(0.0), Threads(3, seconds)
    helpers.learn = bool  # whatever the machine is busy with
    explain(work, helpers, ROWS[:n_rows], may_share)
    assert not helpers.threads
    assert work.callers == {threading.get_ident()}


def test_a_thread_that_cannot_be_started_is_done_without():
    """As where a container has no more processes: all rows are explained."""
    helpers = Threads(3)

    def refuse(work):
        raise RuntimeError("can't start new thread")

    helpers.start = refuse
    assert np.concatenate(explain(Work(0.0), helpers)).tolist() == ROWS.tolist()


def test_what_rows_take_is_learned():
    """The first request finds out while it computes, and the next one knows from its start."""
    helpers = Threads(1, seconds_a_row=0.0)
    explain(Work(0.01), helpers)
    assert len(helpers.threads) == 1
    assert helpers.seconds_a_row >= 0.01


def test_the_error_is_that_of_the_first_rows_and_ends_the_work():
    """Whichever thread has it, as with one thread; rows behind it are not begun any more."""
    for n_helpers in (0, 3):
        work = Work(refused=[60, 61, 90])
        with pytest.raises(ValueError, match="refused 60"):
            explain(work, Threads(n_helpers))
        assert work.n_inside == 0
        assert sum(work.sizes) < len(ROWS)


def test_an_error_keeps_no_rows():
    """Once nobody holds it any more, the rows are free at once, without a garbage collection."""
    gc.collect()
    gc.disable()
    try:
        rows = ROWS.copy().view(Watched)
        freed = weakref.ref(rows)
        with pytest.raises(ValueError, match="refused 60"):
            explain(Work(refused=[60, 150]), Threads(3), rows)
        del rows
        assert freed() is None
    finally:
        gc.enable()


def test_nobody_goes_on_once_the_check_says_no():
    """A deadline stops all threads at their next piece."""
    work, end = Work(0.01), time.monotonic() + 0.1

    def check():
        if time.monotonic() > end:
            raise TimeoutError("over")

    with pytest.raises(TimeoutError, match="over"):
        explain(work, Threads(2), check=check)
    assert work.n_inside == 0
    assert 0 < sum(work.sizes) < len(ROWS)


def test_helpers_go_when_there_is_no_room_for_them_any_more():
    """All but as many as are left end before the work does."""
    work, helpers = Work(), Threads(3)
    finished = threading.Thread(target=explain, args=(work, helpers))
    finished.start()
    while len(work.callers) < 4:
        time.sleep(0.001)
    helpers.n_most = 1
    while sum(thread.is_alive() for thread in helpers.threads) > 1:
        assert finished.is_alive()
        time.sleep(0.001)
    finished.join()
    assert sum(work.sizes) == len(ROWS)


def test_requests_share_the_threads_evenly():
    """Alone a request has all of them; each further one takes its share; there is always one."""
    load = Load()
    gate = Gate(in_flight=9, slots=9, load=load)
    helpers = FairHelpers(Computations(), load, threads=4, seconds=60)
    found = [helpers.most()]
    for _ in range(5):
        gate.take_slot(None)
        found.append(helpers.most())
    assert found == [3, 3, 1, 0, 0, 0]
    for _ in range(5):
        gate.pass_slot_on()
    assert helpers.most() == 3


def test_threads_change_no_byte():
    """Importances of many rows, by one thread and by three."""
    model = ScoringModel(
        svr := SVR(C=100).fit(X, y), KernelScoringExplainer(TabularExplainer(svr, X))
    )
    helpers = Threads(2)
    shared = model.predict_and_explain(X[:40], ScoringRequest(helpers=helpers))
    assert len(helpers.threads) == 2
    alone = model.predict_and_explain(X[:40], ScoringRequest())
    assert shared.importances.values.tobytes() == alone.importances.values.tobytes()


def double(rows):
    """Stand for a function that may not be made for threads."""
    return 2 * rows


@pytest.mark.parametrize(
    ("model", "is_known"),
    [
        (SVR(), True),  # its structure is read
        (make_pipeline(FunctionTransformer(np.tanh), SVR()), True),
        (make_pipeline(FunctionTransformer(double), SVR()), False),
        (KNeighborsRegressor(), True),
        (double, False),
    ],
    ids=["read", "numpy", "function", "sklearn", "own"],
)
def test_only_code_of_known_libraries_is_shared(model, is_known):
    """What an engine runs of somebody else's is called by one thread at a time."""
    fitted = model.fit(X[:50], y[:50]) if hasattr(model, "fit") else lambda rows: double(rows)[:, 0]
    engine = TabularExplainer(fitted, X[:50], nsamples=200).row_explainer.engine
    assert takes_threads(engine) is is_known


@pytest.mark.parametrize(
    "part",
    [np.zeros(3).view(Watched), [].append],
    ids=["a class of one's own", "a list's"],
)
def test_what_may_change_is_not_shared(part):
    """An array of an unknown class may, and so may what a function is of."""
    assert not takes_threads(part)
    assert takes_threads(np.zeros(3), np.ma.masked_array([1.0]), np.tanh, max)


def test_who_finds_no_thread_goes_on_alone():
    """No helper can be started: nobody is counted, and the rows are explained all the same."""

    class NoThreads(Threads):
        def start(self, work):
            raise RuntimeError("can't start new thread")

    model = ScoringModel(
        svr := SVR(C=100).fit(X, y), KernelScoringExplainer(TabularExplainer(svr, X))
    )
    shared = model.predict_and_explain(X[:30], ScoringRequest(helpers=NoThreads(2)))
    alone = model.predict_and_explain(X[:30], ScoringRequest())
    assert shared.importances.values.tobytes() == alone.importances.values.tobytes()
