"""The note on a model that is merely called: why, what an explained row costs, and what would help.

It is printed when an explainer is built, and stands in the manifest. Next:
:mod:`service.engines.called.foreign_code`.
"""

from __future__ import annotations

import sys

from service.engines.called.cost import ModelCost
from service.engines.called.reasons import explain_gap
from service.engines.outputs import ModelOutput
from service.engines.sampled_engines import KernelEngine

LEAST = 0.01  # seconds that are told apart
UP_TO = {False: "", True: "up to "}
LONG = 1.0  # seconds for an explained row, of which the note says how to make it less


def _rounded(seconds: float) -> str:
    """Write one digit that counts: 0.3, 30."""
    return f"{float(f'{seconds:.1g}'):g}"


def write_note(function: ModelOutput, engine: KernelEngine, cost: ModelCost, reason: str) -> str:
    """Say why a model is called and what that costs, and print it.

    Parameters
    ----------
    function : ModelOutput
    engine : KernelEngine
        The one that calls the model.
    cost : ModelCost
    reason : str
        Why its structure could not be used; "" where that is to be found out.

    Returns
    -------
    str
    """
    n_rows = max(1, engine.n_evaluations)  # a single feature takes the row itself alone
    seconds = n_rows * cost.seconds_each
    up_to = UP_TO[engine.is_in_stages]
    parts = [
        reason or explain_gap(function.model, function.scale),
        f"An explained row asks the model for {up_to}{n_rows:,} row{'s' * (n_rows > 1)}: {up_to}"
        f"about {_rounded(max(seconds, LEAST))} s.",
    ]
    if seconds > LONG:
        parts.append("Fewer features, fewer examples or a smaller nsamples take less.")
    note = " ".join(parts)
    print(f"{function.name} is called. {note}", file=sys.stderr)
    return note
