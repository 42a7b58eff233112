"""Where a deployed model comes from: a version of a registered model, and its digests.

Next: `deploy.registry.store`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deploy.contract import ORIGIN_FORMAT


@dataclass(frozen=True)
class Origin:
    """A version of a registered model, as it was when the release was made.

    Parameters
    ----------
    uri : str
        ``models:/name/3``: the version, also where an alias was asked for.
    name, version : str
    run : str
        The run that registered it; empty where none did.
    registry : str
        The address of the registry, without credentials.
    explanation : str
        The id of the explanation that the run had; empty of none.
    path : str
        Where it lies in the folder of the models; empty for that folder itself.
    sha256 : mapping of str to str
        The digest of each file, by its place in the folder of the models.

    Examples
    --------
    >>> origin = Origin("models:/tumours/3", "tumours", "3", "8c1f", "https://runs.example")
    >>> origin.text
    'models:/tumours/3 of run 8c1f in https://runs.example'
    """

    uri: str
    name: str
    version: str
    run: str
    registry: str
    explanation: str = ""
    path: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """What it is, for people."""
        run = self.run and f" of run {self.run}"
        explained = self.explanation and f", explanation {self.explanation}"
        return f"{self.uri}{run}{explained} in {self.registry}"

    def facts(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def to_file(origins: Iterable[Origin]) -> bytes:
    """Write what lies beside the models in an image; the service reads it."""
    content = {"format": ORIGIN_FORMAT, "models": [*map(asdict, origins)]}
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def to_label(origins: Iterable[Origin]) -> str:
    """Write origins for a label of the release."""
    return json.dumps([*map(asdict, origins)], sort_keys=True, separators=(",", ":"))


def from_label(text: str) -> tuple[Origin, ...]:
    """Read what `to_label` wrote; facts that another version of this package wrote are left out."""
    return tuple(map(_origin, json.loads(text)))


def _origin(facts: Mapping[str, Any]) -> Origin:
    known = Origin.__dataclass_fields__.keys() & facts.keys()
    return Origin(**{key: facts[key] for key in known})
