"""What the docstrings of service and deploy say of the code is so."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_MODULE = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
IN_BACKTICKS = re.compile(r"`([^`\n]+)`")
# A module or what is in it, as in `service.rows.schema` or :class:`~service.settings.Settings`.
DOTTED = re.compile(r"~?((?:service|deploy)(?:\.\w+)+)(?:\(\))?")
CONFIGURATION_FILES = (".yml", ".yaml")
IN_A_FOLDER = re.compile(r"(?:service|deploy)/[\w/.]+")
NEXT = re.compile(r"\bNext:\s+(?::mod:)?`+([^`]+)`+")


def modules_of(package):
    """Return the dotted names of a package and of all that is in it, with their files."""
    files = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


MODULES = modules_of("service") | modules_of("deploy")
PACKAGES = [name for name, file in MODULES.items() if file.name == "__init__.py"]


@cache
def parsed(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def docstring(module):
    return ast.get_docstring(parsed(module)) or ""


def docstrings(module):
    """Yield every docstring of a module: its own, those of classes, functions and methods."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, OF_MODULE):
            yield ast.get_docstring(node) or ""


def parts_of(package):
    """Return the modules and packages right inside a package; those with __names__ left out."""
    inside = [name for name in MODULES if name.rpartition(".")[0] == package]
    return [name for name in inside if not name.rpartition(".")[2].startswith("__")]


def names_in(body):
    """Return what statements define, in branches of `if` and `try` too."""
    names = set()
    for node in body:
        for inside in ast.walk(node):
            if isinstance(inside, ast.Name) and isinstance(inside.ctx, ast.Store):
                names.add(inside.id)
            elif isinstance(inside, ast.alias):
                names.add(inside.asname or inside.name)
            elif isinstance(inside, ast.Attribute) and isinstance(inside.ctx, ast.Store):
                names.add(inside.attr)
            elif isinstance(inside, OF_MODULE[1:]):
                names.add(inside.name)
    return names


def resolves(name):
    """Tell whether a dotted name is one of our modules, or something that one of them defines."""
    module, attributes = name, []
    while module not in MODULES:
        module, _, last = module.rpartition(".")
        attributes.insert(0, last)
        if not module:
            return False
    if not attributes or attributes[0] not in imports_of(module):
        return set(attributes) <= names_in(parsed(module).body)
    origin = imports_of(module)[attributes[0]]
    return resolves(".".join([origin, *attributes[1:]]))


def imports_of(module):
    """Return where the names come from that a module imports from others of ours."""
    origins = {}
    for node in parsed(module).body:
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                origins[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return origins


def target_of(module):
    """Return the module that a docstring sends its reader to; None where it sends to none."""
    found = NEXT.search(docstring(module))
    if found is None:
        return None
    target = found.group(1).removesuffix(".py").replace("/", ".")
    return target if target in MODULES else None


def path_from(package):
    """Return the modules that a reader of a package meets, and whether one of them twice."""
    met, module = [], target_of(package)
    while module is not None:
        if module in met:
            return met, True
        met.append(module)
        module = target_of(module)
    return met, False


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_names_every_module_in_it(package):
    """In backticks, in its docstring."""
    named = set(re.findall(r"`(\w+)`", docstring(package)))
    missing = [part for part in parts_of(package) if part.rpartition(".")[2] not in named]
    assert not missing


@pytest.mark.parametrize("module", MODULES)
def test_names_in_backticks_resolve(module):
    """A dotted name is one of our modules or is defined in one; a path is one of our files."""
    wrong = []
    for text in docstrings(module):
        for name in IN_BACKTICKS.findall(text):
            dotted = DOTTED.fullmatch(name)
            is_code = dotted is not None and not name.endswith((".py", *CONFIGURATION_FILES))
            if is_code and not resolves(dotted.group(1)):
                wrong.append(name)
            if IN_A_FOLDER.fullmatch(name) and not (ROOT / name).exists():
                wrong.append(name)
    assert not wrong


@pytest.mark.parametrize("module", MODULES)
def test_a_docstring_sends_its_reader_to_one_place(module):
    """At most one `Next:`, to a module, a package or a file that is there."""
    targets = NEXT.findall(docstring(module))
    assert len(targets) == docstring(module).count("Next:") <= 1
    for target in targets:
        assert target in MODULES or (ROOT / target).is_file(), target


@pytest.mark.parametrize("package", PACKAGES)
def test_one_path_leads_through_a_package(package):
    """From its docstring on, `Next:` leads to each of its modules, and to none twice.

    The path may lead through other packages in between, and on into another at its end.
    """
    met, is_circle = path_from(package)
    modules = [part for part in parts_of(package) if part not in PACKAGES]
    assert not is_circle, met
    assert set(modules) <= set(met), sorted(set(modules) - set(met))
