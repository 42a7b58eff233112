"""Compile the kernels into one library, for every level of instructions that it may meet.

``python native/build.py LIBRARY`` is what an installation, a wheel and an image's build stage run.
The compiler is ``$CXX``, or g++; no other package is needed, and the library needs none.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-psabi"]
# The names of the levels, in rising order, and what the compiler calls them.
LEVELS = {
    "x86_64": {
        "base": [],
        "avx2": ["-march=x86-64-v3"],
        "avx512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    },
}
# A product and a sum that are rounded once may end the coupling's iteration one round earlier.
FLAGS_OF = {"coupling": ["-ffp-contract=off"]}
LINKED = ["-shared", "-Wl,-s"]


def build(library: Path, extra: list[str]) -> None:
    """Compile every source for every level, and link them.

    Parameters
    ----------
    library : Path
        Where the library is written.
    extra : list of str
        Further flags, such as ``-fsanitize=address,undefined``.

    Raises
    ------
    FileNotFoundError
        When there is no compiler.
    subprocess.CalledProcessError
        When it fails.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise FileNotFoundError(f"{compiler}: no such compiler")
    # The lowest level comes first: of what several sources make of the standard library, the linker
    # takes the first, and it has to run everywhere.
    levels = LEVELS.get(platform.machine(), {"base": []})
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for level, flags in levels.items():
            for source in sorted(SOURCES.glob("*.cpp")):
                if source.stem == "levels" and level != "base":
                    continue
                objects.append(f"{folder}/{source.stem}-{level}.o")
                command = [compiler, *FLAGS, *flags, *extra, f"-DLEVEL={level}"]
                command += [*FLAGS_OF.get(source.stem, []), "-c", source.name, "-o", objects[-1]]
                subprocess.run(command, check=True, cwd=SOURCES)
        library.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, *objects, *LINKED, *extra, "-o", str(library)], check=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("native/build.py: expected the path of the library to write")
    try:
        build(Path(sys.argv[1]).absolute(), sys.argv[2:])
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        sys.exit(f"native/build.py: {error}")
