"""The entry script behind what guards it: keys, bounds on work, deadlines and metrics.

Every scoring route of every protocol goes through here. Next: :mod:`service.web.bodies`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from flask import g, request

from service.model_origin import Origin
from service.rows.json_rows import JsonRows
from service.rows.schema import Schema
from service.rows.values import shown
from service.scoring.request import ScoringRequest, options_of
from service.settings import Settings
from service.web.bodies import read_bytes, read_text
from service.web.computations import Computations, FairHelpers
from service.web.entry_script import EntryScript
from service.web.errors import BodyError, BusyError, NoModelError
from service.web.keys import Keys
from service.web.lifecycle import Lifecycle
from service.web.metrics import Metrics
from service.web.request_limits import Gate
from service.web.slow_clients import MOST_UNSENT, unsent_bytes


@dataclass(frozen=True)
class GuardedScript:
    """The entry script behind keys, bounds and metrics.

    Attributes
    ----------
    entry_script : EntryScript
    settings : Settings
    gate : Gate
        Bounds how many requests are in flight, and how many compute.
    keys : Keys
    metrics : Metrics
    lifecycle : Lifecycle
        Knows whether this process is about to stop.
    origins : tuple of Origin
        The registered models that were deployed.
    computations : Computations
        Runs the script, so that a request can leave it behind at its deadline.
    """

    entry_script: EntryScript
    settings: Settings
    gate: Gate
    keys: Keys
    metrics: Metrics
    lifecycle: Lifecycle
    origins: tuple[Origin, ...] = ()
    computations: Computations = field(default_factory=Computations)

    @cached_property
    def helpers(self) -> FairHelpers:
        """Threads that the rows of a request may have beside its own."""
        settings = self.settings
        return FairHelpers(
            self.computations,
            self.gate.load,
            threads=settings.n_row_threads,
            seconds=settings.deadline,
        )

    @property
    def is_live(self) -> bool:
        """Whether this process can go on: no computation in it is long overdue."""
        return not self.computations.stuck()

    @property
    def is_ready(self) -> bool:
        """Whether new requests should be sent here."""
        life = self.lifecycle
        goes_on = life.is_reachable and not life.is_draining
        return self.entry_script.ready and self.is_live and goes_on

    @property
    def schema(self) -> Schema | None:
        """The columns of the rows, where the script has told its model."""
        return None if self.entry_script.model is None else self.entry_script.model.schema

    def read_body(self) -> str | bytes:
        """Check the key and read the present request's body.

        Returns
        -------
        str or bytes
            Text; bytes, whatever they are, for a script that takes the HTTP request itself.
        """
        self.check_key()
        if self.entry_script.takes_http:
            return read_bytes(request)
        return read_text(request)

    def check_key(self) -> None:
        """Refuse the present request unless it has a key, where keys are needed."""
        self.keys.check(request.environ.get("HTTP_AUTHORIZATION"))

    def check_room(self) -> None:
        """Refuse the present request while too much waits for clients that do not take it."""
        if unsent_bytes() > MOST_UNSENT:
            raise BusyError(
                "Too many answers wait for their clients to take them; try again in a second."
            )

    def check_name(self, name: str) -> None:
        """Refuse a request for a model of another name."""
        if name != self.settings.model_name:
            raise NoModelError(
                f"No model {shown(name)} here; this service has {self.settings.model_name!r}."
            )

    def query(self) -> dict[str, str]:
        """Return what the present request asks for in its query, each option once.

        The query of a script that takes the HTTP request itself is the script's own.
        """
        if self.entry_script.takes_http:
            return {}
        repeated = next((name for name, values in request.args.lists() if len(values) > 1), None)
        if repeated is not None:
            raise BodyError(f"Option {repeated[:60]!r}: expected it once.")
        return request.args.to_dict()

    def run(self, rows: JsonRows, options: Mapping[str, Any], *, explain: bool = True) -> Any:
        """Hand a body to the entry script and return what it answers.

        Parameters
        ----------
        rows : str, dict or list
            Rows as JSON text, or what such a text would hold, where they came in another form.
        options : mapping
            What the client asked for; see :func:`service.scoring.request.options_of`.
        explain : bool, default True
            Whether to explain when the client does not say.

        Raises
        ------
        RequestError
            When too many requests are in flight, too many answers wait for their clients, or the
            time is over.
        PayloadError
            When an option cannot be used.
        """
        if options and not self.entry_script.takes_request:
            raise BodyError(
                f"Options: expected none, since run() of {self.entry_script.path.name} takes the "
                "body alone; give it a parameter 'request', as in run(raw_data, request), and hand "
                "that on by scoring_model.score(raw_data, request)."
            )
        asked = ScoringRequest(
            **{"explain": explain, **options_of(options)},
            max_rows=self.settings.max_rows,
            check=g.deadline.check,
            helpers=self.helpers,
        )
        self.check_room()
        with self.gate.place():
            self.gate.take_slot(g.deadline)
            compute = partial(self._compute, rows, asked, request.environ)
            answer = self.computations.run(compute, g.deadline)
            g.rows = self.metrics.scored(answer)
        g.deadline.check()
        return answer

    def _compute(self, rows: JsonRows, asked: ScoringRequest, environ: Mapping[str, Any]) -> Any:
        try:
            return self.entry_script.run(rows, asked, environ)
        finally:
            self.gate.pass_slot_on()
