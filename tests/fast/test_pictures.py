"""What a notebook shows of an explanation: an SVG, without matplotlib, that says what is so."""

import re
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from service.explainers import TabularExplainer
from service.explanations import GlobalExplanation, GlobalImportances, LocalExplanation

NAMES = [f"column <{i}> & more" for i in range(20)]
X = pd.DataFrame(
    np.random.default_rng(0).normal(size=(40, 20)) * np.linspace(1, 3, 20), columns=NAMES
)
Y = X.to_numpy() @ np.linspace(-1, 1, 20)
REGRESSION = LinearRegression().fit(X, Y)
CLASSIFIER = LogisticRegression().fit(X, np.where(Y > 0, "yes", "no"))


@pytest.fixture(autouse=True)
def without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def read(explanation):
    """Return the texts of a picture and its bars, (position, width), when all are inside it."""
    root = ElementTree.fromstring(explanation._repr_html_())
    kind = "{http://www.w3.org/2000/svg}"
    width, height = float(root.get("width")), float(root.get("height"))
    bars = [each for each in root.iter(f"{kind}rect") if each.get("x")]
    places = [(float(each.get("x")), float(each.get("width"))) for each in bars]
    for (x, length), each in zip(places, bars, strict=True):
        assert 0 <= x <= x + length <= width
        assert float(each.get("y")) < height
    return [each.text for each in root.iter(f"{kind}text")], places


def numbers_of(texts):
    told = [text.replace("−", "-") for text in texts if re.fullmatch(r"[+−]?[\d.e+−]+", text)]
    return list(map(float, told))


def test_global_importances_are_bars_in_their_order():
    """As long as they are large, with their numbers; what is not shown is counted."""
    overall = TabularExplainer(REGRESSION, X).explain_global(X)
    texts, bars = read(overall)
    assert [text for text in texts if text in NAMES] == overall.get_ranked_global_names(15)
    values = overall.get_ranked_global_values(15)
    assert numbers_of(texts) == [float(f"{value:.4g}") for value in values]
    widths = np.array([width for _, width in bars])
    np.testing.assert_allclose(widths / widths[0], np.array(values) / values[0], atol=0.002)
    assert "and 5 more" in texts
    assert "prediction, over 40 rows, by linear" in texts


def test_a_row_has_bars_to_both_sides():
    """The largest magnitudes of the class that comes out highest, from average to output."""
    local = TabularExplainer(CLASSIFIER, X).explain_local(X[3:5])
    texts, bars = read(local)
    label = CLASSIFIER.predict(X[3:4])[0]
    assert texts[0] == f"{label}: margin of row 3"
    output = list(CLASSIFIER.classes_).index(label)
    values = np.array(local.local_importance_values)[output, 0]
    end = np.abs(CLASSIFIER.decision_function(X[3:4])[0])
    assert texts[1].endswith(f"on average to {end:.4g}, the first of 2 rows")
    largest = values[np.argsort(-np.abs(values))[:15]]
    assert numbers_of(texts) == [float(f"{value:.4g}") for value in largest]
    zero = max(x for (x, _), value in zip(bars, largest, strict=True) if value > 0)
    below = [x + width for (x, width), value in zip(bars, largest, strict=True) if value < 0]
    np.testing.assert_allclose(below, zero, atol=0.2)


def test_permutation_importances_may_be_below_zero_and_nothing_may_be_there():
    """Their picture is drawn as well; an explanation of no rows has none."""
    overall = GlobalImportances(
        values=np.array([-1.0, 2.0]),
        features=["worse", "better"],
        n_rows=9,
        method="permutation importance",
        output="accuracy_score",
        standard_errors=np.array([0.5, 0.25]),
    )
    texts, bars = read(GlobalExplanation(None, overall=overall))
    assert numbers_of(texts) == [2.0, -1.0]
    (up, long), (down, short) = bars
    np.testing.assert_allclose([down + short, long], [up, 2 * short], atol=0.2)
    nothing = LocalExplanation.from_values([[0.0, 0.0]], features=["a", "b"], expected_values=0.0)
    assert numbers_of(read(nothing)[0]) == [0.0, 0.0]
    assert nothing[:0]._repr_html_() is None


def test_several_targets_are_told_apart_and_long_names_are_cut():
    """The position of the target stands above; thirty letters of a name are shown."""
    values = np.array([[[1.0, 2.0]], [[3.0, -4.0]]])
    local = LocalExplanation.from_values(
        values,
        features=["n" * 40, "short"],
        expected_values=[0.0, 9.0],
        axes=["class", "row", "feature"],
    )
    texts, _ = read(local)
    assert texts[0] == "1: prediction of row 0"
    assert "n" * 29 + "…" in texts
