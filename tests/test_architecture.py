import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Which rooms each room may import. shap, Flask and the like are named where they are forbidden at
# import time.
MAY_IMPORT = {
    "shapley": set(),
    "scoring": {"shapley"},
    "explainers": {"shapley", "scoring"},
    "web": {"scoring"},
}


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_run_one_way(room):
    """shapley ← scoring ← explainers, and web imports nothing from the training side."""
    files = list((ROOT / "service" / room).glob("*.py"))
    assert files
    for file in files:
        rooms = {name.split(".")[1] for name in imports(file) if name.startswith("service.")}
        assert rooms <= MAY_IMPORT[room] | {room}, file


def test_the_mathematics_knows_only_numpy_and_scipy():
    """No pandas, no scikit-learn, no HTTP in service/shapley."""
    allowed = {*sys.stdlib_module_names, "numpy", "scipy", "service"}
    for file in (ROOT / "service" / "shapley").glob("*.py"):
        assert {name.split(".")[0] for name in imports(file)} <= allowed, file


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("service", ["numpy", "flask", "shap"]),
        ("service.shapley.kernel", ["pandas", "sklearn", "flask", "shap"]),
        ("service.scoring", ["flask", "shap", "numba", "matplotlib", "sklearn", "pandas"]),
        ("service.explainers", ["flask", "shap", "numba", "matplotlib"]),
    ],
)
def test_importing_a_room_loads_nothing_heavy(module, forbidden):
    """Seen in a fresh process."""
    script = f"import sys, {module}; print(*sorted(set({forbidden!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
