"""What is in an image: a software bill of materials, in CycloneDX's JSON.

It is made from the lock that the image was installed from. Next: `deploy.release.release`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from deploy.image.pins import Pin, pins

VERSION = re.compile(r"==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def bill_of_materials(lock: str, name: str, image: str) -> str:
    """List the packages of a lock, each with its version and the hashes of its files.

    Parameters
    ----------
    lock : str
        The lock of the image, without what was left out.
    name : str
        The deployment's.
    image : str
        The image's id.

    Returns
    -------
    str
        CycloneDX 1.5; the same bytes for the same input.
    """
    components = []
    for pin in pins(lock):
        version = VERSION.search(pin.text.splitlines()[0])
        if version:
            components.append(_component(pin, version[1]))
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": image, "name": name, "version": image}
        },
        "components": components,
    }
    return json.dumps(bill, indent=2) + "\n"


def _component(pin: Pin, version: str) -> dict[str, Any]:
    url = f"pkg:pypi/{pin.name}@{version}"
    hashes = [{"alg": "SHA-256", "content": found} for found in HASH.findall(pin.text)]
    return {
        "type": "library",
        "bom-ref": url,
        "name": pin.name,
        "version": version,
        "purl": url,
        "externalReferences": [{"type": "distribution", "url": url, "hashes": hashes}],
    }


def write(root: Path, lock: str, name: str, image: str) -> Path:
    """Write the bill of an image beside the audit, as ``.deploy/sbom-<image>.json``."""
    path = root / ".deploy" / f"sbom-{image.removeprefix('sha256:')[:12]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(bill_of_materials(lock, name, image), encoding="utf-8")
    return path
