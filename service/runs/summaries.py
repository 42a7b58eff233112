"""What a run's tags say of its explanations: the summary that commits one, and lists it.

Next: :mod:`service.runs.pyfunc`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

from service.errors import expect
from service.runs.names import LONGEST_TAG

PREFIX = "explanation."
MARK = "model_explanation"  # as Azure ML tags a run that has one
N_NAMED = 10  # features that a summary names
LONGEST_FEATURE = 100
# What whoever lists explanations looks for, and of what kind it is.
LOOKED_FOR: dict[str, type] = {
    **dict.fromkeys(("id", "comment", "uploaded", "kind", "explanation", "heading"), str),
    **dict.fromkeys(("raw", "engineered"), bool),
    "features": list,
}
NUMBERS = {int, float, type(None)}


def to_tags(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that commit an explanation.

    Raises
    ------
    ValueError
        When the summary does not fit into a tag.
    """
    text = json.dumps(summary, allow_nan=False, ensure_ascii=False)
    while len(text) > LONGEST_TAG and summary["features"]:
        summary = {**summary, "features": summary["features"][:-1]}
        text = json.dumps(summary, allow_nan=False, ensure_ascii=False)
    if len(text) > LONGEST_TAG:
        raise ValueError(
            f"Explanation: expected a summary of at most {LONGEST_TAG:,} characters, got "
            f"{len(text):,}; shorten the comment or the model's id."
        )
    return {f"{PREFIX}{summary['id']}": text, MARK: "True"}


def read_summaries(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the summaries in a run's tags, the oldest first.

    Warns
    -----
    UserWarning
        Of each that cannot be read; the others are listed all the same.
    """
    read = [_read(name, text) for name, text in tags.items() if name.startswith(PREFIX)]
    return sorted(filter(None, read), key=lambda summary: str(summary["uploaded"]))


def _read(name: str, text: str) -> dict[str, Any]:
    try:
        summary = json.loads(text)
        _check(summary)
        expect(summary["id"] == name.removeprefix(PREFIX), "of another explanation", ValueError)
    except (ValueError, TypeError, KeyError) as error:
        warnings.warn(
            f"{name}: this tag of a run is no summary of an explanation ({error!r:.80}) and is "
            "left out; upload the explanation again.",
            UserWarning,
            stacklevel=4,
        )
        return {}
    return dict(summary)


def _check(summary: Mapping[str, Any]) -> None:
    for key, kind in LOOKED_FOR.items():
        expect(isinstance(summary[key], kind), f"{key} is another", TypeError)
    for feature, *values in summary["features"]:
        expect(isinstance(feature, str), "a feature without a name", TypeError)
        expect(set(map(type, values)) <= NUMBERS, f"values of {feature}", TypeError)


def newest_of(summaries: list[dict[str, Any]], models: tuple[str, ...]) -> str:
    """Return the id of the newest explanation that was uploaded for one of some models.

    "" among them stands for explanations that name none; the answer is "" where there is none.
    """
    found = [summary["id"] for summary in summaries if summary.get("model_id", "") in models]
    return ["", *found][-1]


def named_features(
    features: list[str], values: list[float] | None, order: list[int]
) -> list[list[Any]]:
    """Return the names of the most important features, with their global values if there are."""
    named = [[str(features[i])[:LONGEST_FEATURE]] for i in order[:N_NAMED]]
    if values is None:
        return named
    return [[*name, values[i]] for name, i in zip(named, order, strict=False)]
