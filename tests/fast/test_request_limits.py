"""The gate and the deadline, in this process.

tests/served/test_faults.py has them behind a server.
"""

import math
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

from service.web import request_limits
from service.web.computations import Computations
from service.web.errors import BusyError, DeadlineError, StoppingError
from service.web.request_limits import (
    Deadline,
    Gate,
    ServedRequest,
    seconds_until_stuck,
)


@contextmanager
def entered(gate, deadline):
    """Hold a place and a slot, as a request does that computes at once."""
    with gate.place():
        gate.take_slot(deadline)
        try:
            yield
        finally:
            gate.pass_slot_on()


def test_a_deadline_passes_once_its_time_is_over():
    """Before, checking does nothing; after, it raises with the seconds that were given, and none
    are left.
    """
    Deadline(60).check()
    over = Deadline(0)
    assert over.left == 0
    with pytest.raises(DeadlineError, match="longer than 0 seconds"):
        over.check()


def test_a_computation_in_place_is_refused_when_it_returns_too_late(monkeypatch):
    """In the thread of its request; what it raises comes before. Meanwhile it is known."""
    monkeypatch.setattr(request_limits, "LEAST_PATIENCE", 0)
    computations = Computations(in_place=True)
    assert computations.run(threading.get_ident, Deadline(60)) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        computations.run(lambda: 1 / 0, Deadline(0))
    stacks = []
    with pytest.raises(DeadlineError):
        computations.run(lambda: stacks.extend(computations.stuck()), Deadline(0))
    assert "_run_here" in stacks[0]
    assert not computations.stuck()


def test_of_two_answers_to_a_request_each_has_its_own_record():
    """That of its thread and the one in its place: both have the name and the time of the request,
    and who sends nothing records nothing.
    """
    recorded = []
    own = ServedRequest(Deadline(0), request_id="mine")
    own.record = lambda: recorded.append("own")
    other = own.in_place()
    assert (own.is_late, other.is_late, other.request_id) == (False, True, "mine")
    assert other.deadline is own.deadline
    other.record_answer()
    assert recorded == []
    own.record_answer()
    assert recorded == ["own"]


def test_a_computation_is_stuck_when_it_takes_half_as_long_again_and_a_second():
    """A thread that began at the deadline has as long from there; whoever stands behind its
    computation is found by its number.
    """
    assert list(map(seconds_until_stuck, (60, 2, 0.01))) == [90, 3, 1.01]
    ends = [time.monotonic()]
    request = ServedRequest(Deadline(60, lambda: ends[0]))
    assert not request.is_stuck
    ends[0] -= 91
    assert request.is_stuck
    (stack,) = Computations().stuck([request.thread])
    assert "test_a_computation_is_stuck" in stack


def test_the_end_of_the_process_comes_before_the_deadline():
    """What has time left by its own deadline is refused as what it is, also while it waits for a
    slot.
    """
    ends = [math.inf]
    request = Deadline(60, lambda: ends[0])
    request.check()
    gate = Gate(in_flight=2, slots=1)
    with entered(gate, Deadline(60)):
        ends[0] = time.monotonic() + 0.05
        with pytest.raises(StoppingError, match="stopping"), entered(gate, request):
            pass
    with pytest.raises(StoppingError, match="stopping"):
        request.check()


def test_the_gate_turns_one_too_many_away_and_has_room_again():
    """As many as there are places are inside; whoever leaves, by an error too, makes room."""
    gate = Gate(in_flight=2, slots=2)
    with ExitStack() as inside:
        inside.enter_context(entered(gate, Deadline(60)))
        inside.enter_context(entered(gate, Deadline(60)))
        with pytest.raises(BusyError):
            inside.enter_context(entered(gate, Deadline(60)))
    with pytest.raises(ZeroDivisionError), entered(gate, Deadline(60)):
        raise ZeroDivisionError
    with entered(gate, Deadline(60)), entered(gate, Deadline(60)):
        pass


def test_who_waits_for_a_slot_waits_until_the_deadline():
    """The one slot is taken: a request whose time is over is refused, and leaves its place; then
    one computes.
    """
    gate = Gate(in_flight=2, slots=1)
    with entered(gate, Deadline(60)):
        for _ in range(3):
            with pytest.raises(DeadlineError), entered(gate, Deadline(0.01)):
                pass
    with entered(gate, Deadline(0.01)):
        pass


def test_slots_go_to_those_who_have_waited_longest():
    """Whoever leaves and comes again at once, as a busy client does, stands behind those who were
    there before.
    """
    gate, order = Gate(in_flight=8, slots=1), []

    def enter(name):
        with entered(gate, Deadline(60)):
            order.append(name)

    with entered(gate, Deadline(60)):
        waiting = []
        for name in range(5):
            waiting.append(threading.Thread(target=enter, args=(name,)))
            waiting[-1].start()
            while len(gate._waiting) <= name:
                threading.Event().wait(0.001)
    enter("again")
    for thread in waiting:
        thread.join()
    assert order == [0, 1, 2, 3, 4, "again"]


def test_never_more_compute_than_there_are_slots():
    """Eight at once through two slots: all come through, two at a time at most."""
    gate, lock, inside, seen = Gate(in_flight=8, slots=2), threading.Lock(), [0], []

    def enter():
        with entered(gate, Deadline(60)):
            with lock:
                inside[0] += 1
                seen.append(inside[0])
            threading.Event().wait(0.01)
            with lock:
                inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert max(seen) == 2
