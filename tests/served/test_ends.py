"""How the service and its workers end: whoever came is answered, nothing is waited for that does
not end, and nothing stays behind.
"""

import http.client
import signal
import socket
import threading
from contextlib import closing

import psutil
import pytest
from serving import errors_in, free_port, serving, start_in_vain, wait_until


def served(folder, script, **settings):
    """Serve a script, of which `run` is called with the body's text."""
    file = folder / "script.py"
    file.write_text(script)
    return serving(folder, ENTRY_SCRIPT=str(file), **settings)


ANSWERS = "def init(): pass\ndef run(_): return 1\n"
SLOW = """
import pathlib, time
here = pathlib.Path(__file__).parent
def init(): pass
def run(_):
    (here / "begun").touch()
    while not (here / "goes on").exists():
        time.sleep(0.05)
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_is_let_in_who_will_not_be_answered(workers, tmp_path):
    """While a worker finishes what is in flight, nothing listens any more: whoever connects knows
    at once, and is not hung up on at the end.
    """
    answers = []
    with served(tmp_path, SLOW, WORKERS=workers) as service:
        in_flight = threading.Thread(target=lambda: answers.append(service.score("1").status))
        in_flight.start()
        wait_until((tmp_path / "begun").exists)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(service), seconds=10)
        assert in_flight.is_alive()
        (tmp_path / "goes on").touch()
        in_flight.join(timeout=30)
    assert answers == [200]


def is_refused(service):
    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=5):
            return False
    except ConnectionRefusedError:
        return True


LEAVES_A_THREAD = """
import threading, time
def init():
    threading.Thread(target=time.sleep, args=(600,), name="exporter").start()
def run(_): return 1
"""


def test_a_thread_of_a_script_keeps_nobody_waiting(tmp_path):
    """The service ends in moments, and says beside what."""
    with served(tmp_path, LEAVES_A_THREAD, WORKERS="1") as service:
        assert service.score("1").json() == 1
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=15) == 0  # it would be killed after 30
        assert "ends beside 1 threads that go on. exporter" in service.log()


HAS_A_POOL = """
import multiprocessing, os, time
def fork():
    child = os.fork()
    if not child:
        time.sleep(600)
    return child
def init():
    global of_init
    of_init = fork()
def run(body):
    if body == '"stay"':
        return [of_init, fork()]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, 2])
"""


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_processes_that_a_script_forks_are_no_workers(tmp_path):
    """Pools of them end when they are told to, and none keeps the port: it can be served again."""
    port = str(free_port())
    with served(tmp_path, HAS_A_POOL, WORKERS="1", PORT=port) as service:
        assert [service.score("1").json() for _ in range(3)] == [[1, 2]] * 3
        left = [psutil.Process(pid) for pid in service.score('"stay"').json()]
    try:
        with served(tmp_path, ANSWERS, WORKERS="1", PORT=port) as service:
            assert service.score("1").json() == 1
        for process in left:
            assert process.is_running()
            process.terminate()
            process.wait(timeout=10)
    finally:
        for process in filter(psutil.Process.is_running, left):
            process.kill()


FORKS_A_POOL = """
import multiprocessing
pool = None
def init(): pass
def run(_):
    global pool
    pool = pool or multiprocessing.get_context("fork").Pool(1)
    return pool.apply(abs, (-1,))
"""


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_client_is_hung_up_on_beside_a_process_that_has_its_connection(tmp_path):
    """It would send its next request to nobody."""
    with (
        served(tmp_path, FORKS_A_POOL, WORKERS="1", KEEP_ALIVE_SECONDS="1") as service,
        closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)) as client,
    ):
        client.request("POST", "/score", "1", {"Content-Type": "application/json"})
        assert client.getresponse().read() == b"1\n"
        assert client.sock.recv(1) == b""


FORKS = """
import os, signal, time
def init(): pass
def run(_):
    child = os.fork()
    if not child:
        time.sleep(600)
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
SLOWLY = "import os, time\nos.register_at_fork(after_in_child=lambda: time.sleep(0.5))"


def test_a_process_that_a_script_forks_ends_when_told_to_at_once(tmp_path):
    """No signal is lost while the process is made: a pool that needed it no longer would wait."""
    (tmp_path / "sitecustomize.py").write_text(SLOWLY)
    with served(tmp_path, FORKS, WORKERS="1", PYTHONPATH=str(tmp_path)) as service:
        assert service.score("1").json() == -signal.SIGTERM


LEAVES_PROCESSES = """
import joblib, multiprocessing, signal, threading, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
fork = multiprocessing.get_context("fork")
def ignore():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
def begin(function, *args):
    process = fork.Process(target=function, args=args)
    process.start()
    return [process]
def init():
    global left
    left = {left}
def run(_): return 1
"""


@pytest.mark.parametrize(
    "left",
    [
        "begin(time.sleep, 600)",
        "begin(ignore)",
        "[pool := ProcessPoolExecutor(2, fork), pool.submit(abs, -1).result()]",
        "[pool := ProcessPoolExecutor(2, fork), pool.submit(time.sleep, 600)]",
        "[pool := ThreadPoolExecutor(2), pool.submit(time.sleep, 600)]",
        "joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(i) for i in range(4))",
        "[queue := fork.Queue(), queue.put(bytes(10**6))]",
        "[pool := fork.Pool(2), threading.Thread(target=time.sleep, args=(600,)).start()]",
    ],
)
def test_what_a_script_leaves_behind_keeps_nobody_waiting(left, tmp_path):
    """Neither processes nor pools, idle or not, nor what nobody takes out of a queue: Python would
    wait for them until it is killed.
    """
    with served(tmp_path, LEAVES_PROCESSES.replace("{left}", left), WORKERS="1") as service:
        assert service.score("1").json() == 1
        others = psutil.Process(service.process.pid).children(recursive=True)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=20) == 0  # it would be killed after 30
        assert psutil.wait_procs(others, timeout=10)[1] == []


FAILS = """
import multiprocessing, time
def init():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)).start()
    raise RuntimeError("no store")
def run(_): pass
"""


def test_a_start_that_fails_is_not_held_up_by_what_a_script_has_started(tmp_path):
    """It is the end of the service, with its exit code."""
    script = tmp_path / "script.py"
    script.write_text(FAILS)
    status, log = start_in_vain(tmp_path, ENTRY_SCRIPT=str(script), WORKERS="1")
    assert status == 3
    assert "init() failed with RuntimeError: no store" in log
    assert "Ends 1 processes of the entry script that go on." in log


HOLDS = """
import ctypes
def init(): pass
def run(_): return ctypes.PyDLL("libc.so.6").sleep(40)
"""


def test_the_log_says_where_code_stands_that_keeps_the_interpreter(tmp_path):
    """No thread of the worker could: it is not killed without a word of what it did."""
    with served(tmp_path, HOLDS, WORKERS="1", DEADLINE_SECONDS="1") as service:
        client = threading.Thread(target=lose, args=[service])
        client.start()
        wait_until(lambda: "script.py" in service.log(), seconds=40)
        assert f'File "{tmp_path / "script.py"}", line 4 in run' in service.log()
        assert errors_in(service.log()) == []
        for child in psutil.Process(service.process.pid).children():
            child.kill()
        client.join(timeout=30)
        wait_until(lambda: service.log().count("is ready") == 2)


def lose(service):
    """Ask for what will not be answered."""
    try:
        service.score("1")
    except (OSError, http.client.HTTPException):
        return
