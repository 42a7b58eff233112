import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Which rooms each room of the service may import; what stands alone is a room by itself.
SERVICE = {
    "errors": set(),
    "version": set(),
    "strict_json": set(),
    "container_limits": set(),
    "threads": set(),
    "settings": {"container_limits"},
    "model_origin": {"errors"},
    "model_paths": {"settings", "model_origin"},
    "shapley": set(),
    "rows": {"errors", "strict_json"},
    "structures": {"errors", "rows", "shapley"},
    "engines": {"errors", "threads", "rows", "shapley", "structures"},
    "explanations": {"errors", "rows", "engines"},
    "explainers": {"errors", "rows", "shapley", "structures", "engines", "explanations"},
    "scoring": {"errors", "strict_json", "version", "rows", "shapley", "engines"},
    "runs": {"errors", "model_paths", "rows", "scoring", "explanations", "explainers"},
    "dashboard": {"errors", "strict_json", "rows", "engines", "explanations", "scoring"},
    "pages": {"errors", "runs", "dashboard"},
    "web": {
        *("errors", "strict_json", "version", "container_limits", "settings"),
        *("model_origin", "model_paths", "rows", "scoring", "dashboard"),
    },
    "server": {"container_limits", "settings", "web"},
    "batch": {
        *("errors", "strict_json", "container_limits", "threads", "rows", "engines", "scoring"),
    },
    "commands": {
        *("errors", "settings", "scoring", "runs", "dashboard", "pages", "batch", "server"),
    },
    "__main__": {"commands"},
}
BELOW_IMAGE = {"errors", "contract", "configuration", "console", "engine", "registry"}
BELOW_TARGET = BELOW_IMAGE | {"release", "serving", "steps"}
DEPLOY = {
    "errors": set(),
    "contract": set(),
    "console": set(),
    "interrupts": {"console"},
    "configuration": {"errors", "contract"},
    "engine": {"errors"},
    "registry": {"errors", "contract", "configuration"},
    "client": {"errors", "contract", "configuration", "engine"},
    "image": BELOW_IMAGE,
    "release": BELOW_IMAGE | {"image"},
    "render": {"contract", "configuration", "engine", "release"},
    "serving": {"release"},
    "steps": {"engine", "release"},
    "target": BELOW_TARGET | {"interrupts"},
    "host": BELOW_TARGET | {"target"},
    "swarm": BELOW_TARGET | {"target"},
    "verbs": BELOW_TARGET | {"client", "target"},
    "deployment": BELOW_TARGET
    | {"interrupts", "client", "image", "target", "host", "swarm", "verbs"},
    "cli": BELOW_TARGET | {"client", "image", "render", "verbs", "deployment"},
    "webservice": BELOW_TARGET | {"verbs", "deployment"},
    "from_workspace": BELOW_TARGET | {"webservice"},
    "__main__": {"cli"},
}
ROOMS = {"service": SERVICE, "deploy": DEPLOY}


def imported_modules(file):
    """Return the full names that a file imports, at any depth, with what is taken from a module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(file, package):
    """Return the first part of a module's path below its package."""
    return file.relative_to(ROOT / package).parts[0].removesuffix(".py")


def files_of(package):
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize(
    "file",
    [*files_of("service"), *files_of("deploy")],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_arrows_run_one_way(file):
    """Every module imports only from its own room and from the rooms below it."""
    package = file.relative_to(ROOT).parts[0]
    if file == ROOT / package / "__init__.py":
        return
    room = room_of(file, package)
    ours = [name for name in imported_modules(file) if name.startswith(f"{package}.")]
    assert {name.split(".")[1] for name in ours} <= ROOMS[package][room] | {room}


def test_the_two_packages_know_nothing_of_each_other():
    """The service never imports the deployment tool, and the tool imports nothing from it."""
    for package, other in (("service", "deploy"), ("deploy", "service")):
        for file in files_of(package):
            tops = {name.split(".")[0] for name in imported_modules(file)}
            assert other not in tops, file


@pytest.mark.parametrize("package", ["service", "deploy"])
def test_no_module_imports_itself_in_a_circle(package):
    """Seen over all modules: what a module needs never needs the module."""
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files_of(package)
    }
    needs = {}
    for module, file in modules.items():
        names = set(imported_modules(file))
        names |= {name.rsplit(".", 1)[0] for name in names}
        needs[module] = (names & modules.keys()) - {module}
    while free := [module for module, needed in needs.items() if not needed]:
        for module in free:
            del needs[module]
        for needed in needs.values():
            needed.difference_update(free)
    assert not needs


@pytest.mark.parametrize("package", ["service", "deploy"])
def test_no_folder_is_crowded(package):
    """A folder holds at most sixteen modules, its __init__ and __main__ not counted."""
    for folder in {file.parent for file in files_of(package)}:
        modules = [file for file in folder.glob("*.py") if not file.name.startswith("__")]
        assert len(modules) <= 16, folder


def test_the_environment_is_read_in_four_places_and_written_in_one():
    """Settings read it, the command line hands it on, gunicorn's configuration adds to it.

    Run history tells MLflow there what it takes from nowhere else.
    """
    readers, writers = set(), set()
    for file in files_of("service"):
        tree = ast.parse(file.read_text())
        if any(is_environment(node) for node in ast.walk(tree)):
            readers.add(str(file.relative_to(ROOT / "service")))
        if any(writes_environment(node) for node in ast.walk(tree)):
            writers.add(str(file.relative_to(ROOT / "service")))
    assert writers == {"runs/surroundings.py"}
    assert readers == {"settings.py", "commands.py", "server/gunicorn_conf.py", *writers}


def is_environment(node):
    """Whether an expression is ``os.environ``, or asks it by ``os.getenv``."""
    is_of_os = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "os"
    return is_of_os and node.attr in {"environ", "environb", "getenv"}


def writes_environment(node):
    """Whether an expression changes the environment: an item of it, or by one of its methods."""
    if isinstance(node, ast.Subscript):
        return is_environment(node.value) and not isinstance(node.ctx, ast.Load)
    if not isinstance(node, ast.Attribute):
        return False
    changes = {"setdefault", "update", "pop", "popitem", "clear", "putenv", "unsetenv"}
    is_os = getattr(node.value, "id", "") == "os"
    return node.attr in changes and (is_os or is_environment(node.value))


def test_one_module_imports_mlflow():
    """And it does so in its functions: importing it loads nothing of MLflow's."""
    theirs = {"mlflow", "sqlalchemy", "alembic"}
    importers = set()
    for file in files_of("service"):
        if {name.split(".")[0] for name in imported_modules(file)} & theirs:
            importers.add(str(file.relative_to(ROOT / "service")))
    assert importers == {"runs/engine.py"}


def test_the_mathematics_knows_only_numpy_and_scipy():
    """No pandas, no scikit-learn, no HTTP in service/shapley."""
    allowed = {*sys.stdlib_module_names, "numpy", "scipy", "service"}
    for file in (ROOT / "service" / "shapley").rglob("*.py"):
        assert {name.split(".")[0] for name in imported_modules(file)} <= allowed, file


@pytest.mark.parametrize(
    "rooms",
    [
        {
            "service": ["numpy", "flask", "shap"],
            "service.settings": ["numpy", "flask", "gunicorn"],
            # Gunicorn imports both before it makes the environment that these libraries read.
            "service.server.gunicorn_conf": ["numpy", "prometheus_client"],
            "service.server.worker.scoring_worker": ["numpy", "prometheus_client"],
        },
        {
            "service.shapley.kernel": ["pandas", "sklearn", "flask", "shap"],
            "service.scoring": ["flask", "shap", "numba", "matplotlib"],
            "service.explainers": ["flask", "shap", "numba", "matplotlib"],
            "service.runs": ["mlflow", "sqlalchemy", "alembic", "flask", "shap", "numba"],
        },
    ],
    ids=["server", "scoring"],
)
def test_importing_a_room_loads_nothing_heavy(rooms):
    """Seen in a fresh process, one room after another: none loads what those after it may not."""
    script = (
        "import importlib, sys\n"
        f"for room, forbidden in {rooms!r}.items():\n"
        "    importlib.import_module(room)\n"
        "    loaded = sorted(set(forbidden) & set(sys.modules))\n"
        "    assert not loaded, (room, loaded)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
