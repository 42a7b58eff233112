"""What is in an image: a software bill of materials in CycloneDX's JSON, from the lock that it was
installed from.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from deploy.image.pins import pins

HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def bill_of_materials(lock: str, name: str, image: str) -> str:
    """List the packages of a lock, each with its version and the hashes of the files it may come
    from.

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
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{pin.name}@{version}",
            "name": pin.name,
            "version": version,
            "purl": f"pkg:pypi/{pin.name}@{version}",
            "externalReferences": [
                {
                    "type": "distribution",
                    "url": f"pkg:pypi/{pin.name}@{version}",
                    "hashes": [
                        {"alg": "SHA-256", "content": found} for found in HASH.findall(pin.text)
                    ],
                }
            ],
        }
        for pin in pins(lock)
        for version in re.findall(r"==([^\s;\\]+)", pin.text.splitlines()[0])
    ]
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


def write(root: Path, lock: str, name: str, image: str) -> Path:
    """Write the bill of an image beside the audit, as ``.deploy/sbom-<image>.json``."""
    path = root / ".deploy" / f"sbom-{image.removeprefix('sha256:')[:12]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(bill_of_materials(lock, name, image), encoding="utf-8")
    return path
