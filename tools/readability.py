"""Figures that say how often a reader has to stop: ``python -m tools.readability [FOLDER ...]``.

A branch is each ``if``, ``elif``, ``for``, ``while``, ``except`` and ``case``, each conditional
expression, each operand of ``and`` or ``or`` beyond the first, and each ``for`` and ``if`` of a
comprehension. The lines of a function are those from its ``def`` to its end without its docstring;
a function inside another counts for itself, and its branches are not the outer one's.

===================================  ==============================================================
figure                               limit
===================================  ==============================================================
branches per 100 function lines      20 in each package, which is one folder
comprehensions per 1,000 lines       15 in each package; generator expressions are comprehensions
branches of one function             fewer than 6, unless it has more than 2 lines for each
``for`` in one comprehension         1
conditional expressions inside one   0
===================================  ==============================================================
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_BRANCHES = 20  # per 100 lines of functions
MOST_COMPREHENSIONS = 15  # per 1,000 lines
MANY_BRANCHES = 6  # in one function
DENSE = 0.5  # branches a line

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
BRANCHES = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.match_case,
)


@dataclass(frozen=True)
class Function:
    """One function and how often it branches."""

    file: Path
    line: int
    name: str
    lines: int
    branches: int

    @property
    def is_dense(self) -> bool:
        """Whether it has many branches on few lines."""
        return self.branches >= MANY_BRANCHES and self.branches >= DENSE * self.lines

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.name}: {self.branches} branches, {self.lines} lines"


@dataclass
class Package:
    """One folder of modules, added up.

    ``crowded`` names the places of comprehensions with two ``for`` or a condition.
    """

    folder: Path
    modules: int
    lines: int
    comprehensions: int
    functions: list[Function]
    crowded: list[str]

    @property
    def branches_per_100(self) -> float:
        """Branches per 100 lines of functions."""
        lines = sum(function.lines for function in self.functions)
        return 100 * sum(function.branches for function in self.functions) / max(1, lines)

    @property
    def comprehensions_per_1000(self) -> float:
        """Comprehensions per 1,000 lines."""
        return 1000 * self.comprehensions / max(1, self.lines)

    @property
    def dense(self) -> list[Function]:
        """The functions with many branches on few lines."""
        return [function for function in self.functions if function.is_dense]


def packages(*roots: Path) -> list[Package]:
    """Measure every folder of modules at or below some folders."""
    found = []
    for root in roots:
        folders = {file.parent for file in root.rglob("*.py")}
        found += [measure(folder) for folder in sorted(folders)]
    return found


def measure(folder: Path) -> Package:
    """Measure the modules of one folder."""
    package = Package(folder, 0, 0, 0, [], [])
    for file in sorted(folder.glob("*.py")):
        source = file.read_text(encoding="utf-8")
        package.modules += 1
        package.lines += len(source.splitlines())
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, FUNCTIONS):
                package.functions.append(measure_function(node, file))
            if isinstance(node, COMPREHENSIONS):
                package.comprehensions += 1
                if is_crowded(node):
                    package.crowded.append(f"{file}:{node.lineno}")
    return package


def measure_function(node: ast.FunctionDef | ast.AsyncFunctionDef, file: Path) -> Function:
    """Count the lines and the branches of a function."""
    lines = n_lines(node)
    if ast.get_docstring(node) is not None:
        lines -= n_lines(node.body[0])
    branches = 0
    for inside in own_nodes(node):
        branches += n_branches(inside)
        if isinstance(inside, FUNCTIONS):
            lines -= n_lines(inside)
    return Function(file, node.lineno, node.name, lines, branches)


def n_lines(node: ast.stmt) -> int:
    """Return on how many lines a statement stands."""
    end = node.end_lineno or node.lineno
    return end - node.lineno + 1


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is inside a function; of functions and classes in it the head alone."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            yield from own_nodes(child)


def n_branches(node: ast.AST) -> int:
    """Return how many branches a node adds by itself."""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return int(isinstance(node, BRANCHES))


def is_crowded(
    node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
) -> bool:
    """Tell whether a comprehension has two ``for``, or a conditional expression inside."""
    has_condition = any(isinstance(inside, ast.IfExp) for inside in ast.walk(node))
    return len(node.generators) > 1 or has_condition


def main(roots: list[str]) -> None:
    """Print the figures of some folders, and what is over the limits."""
    measured = packages(*map(Path, roots or ["service", "deploy"]))
    print(f"{'package':34}modules  lines  functions  branches/100  comprehensions/1000")
    for package in measured:
        print(
            f"{package.folder!s:34}{package.modules:7d}{package.lines:7d}"
            f"{len(package.functions):11d}{package.branches_per_100:14.1f}"
            f"{package.comprehensions_per_1000:21.1f}"
        )
    for package in measured:
        for function in package.dense:
            print(f"dense: {function}")
        for place in package.crowded:
            print(f"crowded comprehension: {place}")


if __name__ == "__main__":
    main(sys.argv[1:])
