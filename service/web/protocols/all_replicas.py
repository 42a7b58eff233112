"""The metrics of all replicas behind one port, added up by whichever of them is asked.

Each replica answers for itself at a Unix socket in a folder that all share (REPLICAS_FOLDER). The
numbers that each has last told are kept there, and go on counting when it has ended, or says
nothing for a moment: so no counter ever goes back, and a rate is that of the whole service.

Next: :mod:`service.web.protocols.explanation_dashboard`.
"""

import fcntl
import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.web.metrics import as_text

SECONDS = 2.0  # for a replica to answer
AT_ONCE = 8  # replicas that are asked at the same time
COUNTED = ("counter", "histogram")  # what goes on counting when a replica has ended


@dataclass
class Told:
    """What the replicas have told: of each its last words, and the sum of those that have ended."""

    former: str = ""
    last: dict[str, str] = field(default_factory=dict)


class AllReplicas:
    """The replicas that share a folder.

    Parameters
    ----------
    own : Path
        The socket of this one; those of the others end in the same way.
    secure : bool
        Whether they speak TLS.
    """

    def __init__(self, own: Path, *, secure: bool) -> None:
        self._own, self._secure = own, secure
        self._file = own.with_name("told.json")

    def added_up(self, own: bytes, authorization: str | None) -> bytes:
        """Add up the metrics of all replicas.

        Parameters
        ----------
        own : bytes
            Those of this one.
        authorization : str or None
            The header by which the client has shown a key; the others want one too.

        Returns
        -------
        bytes
            In Prometheus' text format.
        """
        with self._told() as told:
            for name, answer in self._ask_others(authorization).items():
                told.last[name] = answer or told.last.get(name, "")
            told.last[self._own.name] = own.decode()
            for name in list(told.last):
                self._bury_if_gone(told, name)
            return as_text(sum_of([told.former, *told.last.values()]))

    def _ask_others(self, authorization: str | None) -> dict[str, str]:
        others = self._own.parent.glob(f"*{self._own.suffix}")
        names = [path.name for path in others if path != self._own]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(partial(self._ask, authorization), names)
            return dict(zip(names, answers, strict=True))

    def _ask(self, authorization: str | None, name: str) -> str:
        """Return a replica's metrics; nothing when it says nothing now, or has ended."""
        connection = _Connection(self._own.with_name(name), secure=self._secure)
        headers = {"Authorization": authorization} if authorization else {}
        try:
            connection.request("GET", "/metrics", headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return text if answer.status == 200 else ""
        except ConnectionRefusedError:  # nobody listens: it has ended
            self._own.with_name(name).unlink(missing_ok=True)
            return ""
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def _bury_if_gone(self, told: Told, name: str) -> None:
        if self._own.with_name(name).exists():
            return
        families = sum_of([told.former, told.last.pop(name)])
        counted = [family for family in families if family.type in COUNTED]
        told.former = as_text(counted).decode()

    @contextmanager
    def _told(self) -> Iterator[Told]:
        """Read what is kept, and keep it changed: one process at a time."""
        with self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            told = _read(self._file)
            yield told
            written = self._file.with_suffix(".new")
            written.write_text(json.dumps(asdict(told)))
            os.replace(written, self._file)


def sum_of(texts: Iterable[str]) -> list[Metric]:
    r"""Add up metrics sample by sample; of gauges take the largest.

    Examples
    --------
    >>> one, two = ("# TYPE n_total counter\nn_total %d\n" % n for n in (1, 2))
    >>> [family] = sum_of([one, two])
    >>> family.samples[0].value
    3.0
    """
    families: dict[str, Metric] = {}
    values: dict[str, dict[Any, Any]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            families.setdefault(family.name, family)
            known = values.setdefault(family.name, {})
            add = sum if family.type in COUNTED else max
            for sample in family.samples:
                key = (sample.name, *sorted(sample.labels.items()))
                before = known.get(key, sample._replace(value=0.0))
                known[key] = sample._replace(value=add((before.value, sample.value)))
    for name, family in families.items():
        family.samples = list(values[name].values())
    return list(families.values())


def _read(file: Path) -> Told:
    try:
        return Told(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):  # there is none yet
        return Told()


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket; with TLS its certificate names the public host, and nobody here."""

    def __init__(self, path: Path, *, secure: bool) -> None:
        super().__init__("replica", 0, timeout=SECONDS)
        self._path, self._secure = path, secure

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self._path))
        if self._secure:
            context = ssl._create_unverified_context()
            self.sock = context.wrap_socket(self.sock)
