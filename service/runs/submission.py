"""Running a script as a run, whose end is told by its exit code.

What a script says of itself is lost when it is killed; who has started it knows.

Next: :mod:`service.runs.copying`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from service.runs.run import Run
from service.runs.surroundings import environment_of_run
from service.runs.workspace import Workspace

SECONDS_TO_END = 10  # after a signal, before it is killed


def submit(workspace: Workspace, script: str | Path, arguments: Sequence[str] = ()) -> Run:
    """Run a script in a process of its own, and wait for its end.

    Parameters
    ----------
    workspace : Workspace
    script : path
        Its ``Run.get_context()`` is the run that is returned.
    arguments : sequence of str, optional

    Returns
    -------
    Run
        FINISHED after exit code 0, FAILED after another, KILLED after a signal.

    Raises
    ------
    FileNotFoundError
        When there is no such script.
    """
    if not Path(script).is_file():
        raise FileNotFoundError(f"submit: expected a script, found none at {str(script)!r}.")
    run = Run(workspace, workspace.create_run(Path(script).stem))
    command = [sys.executable, str(script), *arguments]
    environment = environment_of_run(workspace.engine.uri, run.id)
    with subprocess.Popen(command, env=environment) as process, _handing_on(process):
        code = process.wait()
    statuses = {True: "FINISHED", False: "FAILED"}
    run.end_as("KILLED" if code < 0 else statuses[code == 0], f"exit code {code}")
    return run


@contextmanager
def _handing_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand signals on to the script, which then ends, or is ended."""

    def hand_on(number: int, _: FrameType | None) -> None:
        process.send_signal(number)
        signal.signal(signal.SIGALRM, lambda *_: process.kill())
        signal.alarm(SECONDS_TO_END)

    former = {each: signal.signal(each, hand_on) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        signal.alarm(0)
        for each, handler in former.items():
            signal.signal(each, handler)
