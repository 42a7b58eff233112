"""How often a reader of service and deploy has to stop; `tools.readability` defines the figures."""

from pathlib import Path

import pytest

from tools.readability import MOST_BRANCHES, MOST_COMPREHENSIONS, measure, packages

ROOT = Path(__file__).parents[2]

every_package = pytest.mark.parametrize(
    "package",
    packages(ROOT / "service", ROOT / "deploy"),
    ids=lambda package: str(package.folder.relative_to(ROOT)),
)

SAMPLE = '''
def outer(rows):
    """Docstrings are
    no lines.
    """
    if rows and rows[0] or None:
        return [a if a else b for a in rows for b in a if b]

    def inner():
        while True:
            pass

    return inner


def dense(a):
    return [b for b in a if b and b or not b and b if a] or {b for b in a}
'''


@every_package
def test_functions_branch_seldom(package):
    """At most 20 branches in 100 lines of a package's functions."""
    assert package.branches_per_100 <= MOST_BRANCHES


@every_package
def test_comprehensions_are_few(package):
    """At most 15 in 1,000 lines of a package."""
    assert package.comprehensions_per_1000 <= MOST_COMPREHENSIONS


@every_package
def test_no_function_is_dense(package):
    """None has six branches or more with two lines or fewer for each."""
    assert not [str(function) for function in package.dense]


@every_package
def test_a_comprehension_is_read_once(package):
    """It has one `for` and no conditional expression."""
    assert not package.crowded


def test_the_figures_are_those_that_can_be_counted_by_hand(tmp_path):
    """Branches, lines and comprehensions of a small module."""
    (tmp_path / "module.py").write_text(SAMPLE, encoding="utf-8")
    package = measure(tmp_path)
    counted = {function.name: function for function in package.functions}

    # if, and, or; the conditional expression; two for and one if.
    assert (counted["outer"].branches, counted["outer"].lines) == (7, 6)
    assert (counted["inner"].branches, counted["inner"].lines) == (1, 3)
    # One for, two if; three and, or within; or outside; one for.
    assert (counted["dense"].branches, counted["dense"].lines) == (8, 2)
    assert package.branches_per_100 == 100 * 16 / 11
    assert package.comprehensions_per_1000 == 1000 * 3 / len(SAMPLE.splitlines())
    assert package.crowded == [f"{tmp_path / 'module.py'}:7"]
    assert package.dense == [counted["outer"], counted["dense"]]
