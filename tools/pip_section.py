"""Print the pip section of environment.yml, one requirement per line, as input for the lock (`make
lock`).
"""

import sys
from pathlib import Path

import yaml


def pip_section(environment_file: Path) -> list[str]:
    """Return the requirements that a conda environment file declares for pip."""
    dependencies = yaml.safe_load(environment_file.read_text(encoding="utf-8"))["dependencies"]
    sections = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    return [requirement for section in sections for requirement in section]


if __name__ == "__main__":
    print("\n".join(pip_section(Path(sys.argv[1]))))
