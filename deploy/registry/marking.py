"""The tag of a version that says where it runs: ``deployed.<name>=<release>``.

It is for whoever looks at the registry, and nothing is decided by it: a registry that does not
answer costs a sentence, not a deployment. Next: `deploy.image.context`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from deploy.errors import RegistryError
from deploy.registry.origin import Origin
from deploy.registry.store import Store, registry_uri

TAG = "deployed."


def mark_versions(
    name: str, release: str, serving: Iterable[Origin], former: Iterable[Origin], root: Path
) -> Iterator[str]:
    """Tag the versions that serve, and take the tag from those that serve no more.

    Parameters
    ----------
    name : str
        The deployment's.
    release : str
        The id of the release that serves; empty when none does any more.
    serving, former : iterable of Origin
        The models of that release, and of the one before.
    root : Path
        The folder of deploy.yml.

    Yields
    ------
    str
        A sentence for each version whose registry could not be told.
    """
    tags = dict.fromkeys(former, "") | dict.fromkeys(serving, release)
    for origin, value in tags.items():
        try:
            _mark(Store(registry_uri(origin.registry, root)), origin, f"{TAG}{name}", value)
        except RegistryError as error:
            yield f"  The registry was not told about {origin.uri}: {error}"


def _mark(store: Store, origin: Origin, tag: str, release: str) -> None:
    if release:
        store.ask("set_model_version_tag", origin.name, origin.version, tag, release)
        return
    found = store.ask("get_model_version", origin.name, origin.version)
    if tag in found.tags:
        store.ask("delete_model_version_tag", origin.name, origin.version, tag)
