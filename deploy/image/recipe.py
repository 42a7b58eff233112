"""The Dockerfile of a release: the recipe, with what deploy.yml says of it filled in.

What is filled in stands in the text, so that it makes another image. Next: `deploy.image.pins`.
"""

from __future__ import annotations

import re
from pathlib import Path

from deploy.configuration import Configuration
from deploy.contract import APP_FOLDER, MODELS_FOLDER

DOCKERFILE = Path(__file__).parents[2] / "dockerfiles" / "Dockerfile"
OPENMP = "libgomp1"  # LightGBM's wheels bring none of their own
FRAGMENT_MARK = "# {dockerfile}"


def dockerfile(config: Configuration) -> str:
    """Write the Dockerfile of a configuration.

    The user's lines come into the build stage. Values take the place of the recipe's own, which are
    those of the example.

    Examples
    --------
    >>> config = Configuration("scoring", entry_script="src/answer.py")
    >>> print(*re.findall("ARG ENTRY_.*", dockerfile(config)))
    ARG ENTRY_SCRIPT="answer.py"
    """
    values = {
        "PACKAGES": " ".join((OPENMP, *config.packages)),
        "ENTRY_SCRIPT": Path(config.entry_script).name,
        "MODEL_FOLDER": f"{APP_FOLDER}/{MODELS_FOLDER}" if config.models else "",
    }
    recipe = DOCKERFILE.read_text(encoding="utf-8")
    for name, value in values.items():
        recipe = _with_value(recipe, name, value)
    return recipe.replace(FRAGMENT_MARK, config.dockerfile.strip())


def _with_value(recipe: str, name: str, value: str) -> str:
    quoted = re.sub(r'[\\"$]', r"\\\g<0>", value)
    filled, times = re.subn(f'(?m)^ARG {name}=".*"$', lambda _: f'ARG {name}="{quoted}"', recipe)
    assert times == 1, f"{DOCKERFILE}: expected one line with ARG {name}, got {times}"
    return filled
