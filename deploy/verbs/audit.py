"""What was done to a deployment, by whom and with what outcome.

One line of JSON each, beside deploy.yml. Next: `deploy.verbs.status`.
"""

from __future__ import annotations

import getpass
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AUDIT = Path(".deploy") / "audit.jsonl"


@contextmanager
def audited(root: Path, name: str, doing: str) -> Iterator[dict[str, Any]]:
    """Write a line when the work is done or has failed; what is put into the dictionary goes along.

    Parameters
    ----------
    root : Path
        The folder of deploy.yml; the file is ``.deploy/audit.jsonl`` in it.
    name, doing : str
        The deployment and the command.
    """
    start = time.time()
    facts: dict[str, Any] = {}
    outcome = "failed"
    try:
        yield facts
        outcome = "done"
    except BaseException as error:
        facts["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
        raise
    finally:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start)),
            "who": f"{getpass.getuser()}@{socket.gethostname()}",
            "name": name,
            "doing": doing,
            "outcome": outcome,
            "seconds": round(time.time() - start, 1),
            **facts,
        }
        file = root / AUDIT
        file.parent.mkdir(exist_ok=True)
        with file.open("a", encoding="utf-8") as audit:
            audit.write(json.dumps(line) + "\n")
