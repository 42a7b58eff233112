"""An answer: arrays inside, a JSON object to those who read it."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from service.explainers import TabularExplainer
from service.scoring import (
    Answer,
    KernelScoringExplainer,
    PayloadError,
    ScoringModel,
    ScoringRequest,
)
from service.scoring.answer_tables import flat_columns
from service.strict_json import strict_json

X = np.random.default_rng(0).normal(size=(40, 3))
EVERYTHING = ScoringRequest(top_k=2, standard_errors=True, expected_values=True, probabilities=True)


@pytest.fixture(scope="module")
def scoring_model():
    fitted = LogisticRegression().fit(X, np.where(X[:, 0] > 0, "yes", "no").astype(object))
    return ScoringModel(fitted, KernelScoringExplainer(TabularExplainer(fitted, X)))


@pytest.fixture
def answer(scoring_model):
    return scoring_model.score(json.dumps(X[:4].tolist()), EVERYTHING)


def test_it_reads_as_the_json_object(answer):
    """Names in the order of the protocol, nested lists under them; strict JSON writes the same."""
    assert list(answer) == [
        "predictions",
        "local_importance_values",
        "probabilities",
        "standard_errors",
        "expected_values",
        "top_importances",
    ]
    assert len(answer) == 6
    assert answer["predictions"] == answer.predictions.tolist()
    assert json.loads(strict_json(answer)) == answer.to_dict() == dict(answer)
    assert strict_json({**answer}) == strict_json(answer)
    assert "counterfactuals" not in answer
    assert answer == answer.to_dict()


def test_its_arrays_are_those_of_model_and_explainer(answer, scoring_model):
    """No number goes through lists: dtypes and values are what was computed."""
    model, explainer = scoring_model.original_model, scoring_model.scoring_explainer
    assert answer.predictions.tolist() == model.predict(X[:4]).tolist()
    np.testing.assert_array_equal(answer.arrays["probabilities"], model.predict_proba(X[:4]))
    assert answer.arrays["local_importance_values"] is answer.importances.values
    np.testing.assert_array_equal(answer.importances.values, explainer.explain_rows(X[:4]).values)
    np.testing.assert_array_equal(answer.rows, X[:4])


def test_what_was_not_asked_for_is_not_there(scoring_model):
    """explain=False is predictions alone, and nothing was explained."""
    alone = scoring_model.score([X[0].tolist()], ScoringRequest(explain=False))
    assert list(alone) == ["predictions"]
    assert alone.importances is None


def test_an_entry_script_can_add_to_it(answer):
    """More values stand behind the others, or in the place of one; rows and importances stay."""
    more = answer.with_values(model="of May", predictions=np.array([1, 2, 3, 4]))
    assert isinstance(more, Answer)
    assert list(more) == [*answer, "model"]
    assert more["predictions"] == [1, 2, 3, 4]
    assert more.importances is answer.importances
    assert answer["predictions"] != [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("answered", "listed"),
    [
        (lambda n: np.arange(n, dtype=np.uint8), [0, 1]),
        (lambda n: np.full(n, 2**64 - 1, dtype=np.uint64), [2**64 - 1, 2**64 - 1]),
        (lambda n: np.arange(n, dtype=np.float32) / 3, [0.0, float(np.float32(1) / 3)]),
        (lambda n: [True, 1], [True, 1]),
        (lambda n: [1, 1.5], [1, 1.5]),
        (lambda n: [np.int64(3), "three"], [3, "three"]),
        (lambda n: pd.Series([1.5, 2.5]), [1.5, 2.5]),
        (lambda n: [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    ],
)
def test_every_form_of_prediction_keeps_its_values(answered, listed):
    """Arrays of any type, lists, Series: the JSON is that of the values, type by type."""

    class Model(LinearRegression):
        def predict(self, rows):
            return answered(len(rows))

    fitted = LinearRegression().fit(X, X[:, 0])
    explainer = KernelScoringExplainer(TabularExplainer(fitted, X))
    model = ScoringModel(Model().fit(X, X[:, 0]), explainer)
    answer = model.score(X[:2].tolist(), ScoringRequest(explain=False))
    assert strict_json(answer["predictions"]) == strict_json(listed)


def test_a_script_changes_an_answer_like_a_dictionary():
    """What was read and changed is what is written; ``with_values`` leaves the answer as it was."""
    answer = Answer({"predictions": np.array([1.0, 2.0])}, np.zeros((2, 1)))
    answer["predictions"][0] = "hidden"
    assert answer.to_dict() == {"predictions": ["hidden", 2.0]}
    answer["extra"] = 1
    answer.update(more=2)
    assert answer.pop("more") == 2
    assert (answer | {"other": 3}).to_dict() == {**answer.to_dict(), "other": 3}
    del answer["extra"]
    assert json.dumps(answer.to_dict()) == '{"predictions": ["hidden", 2.0]}'
    assert answer.predictions.tolist() == ["hidden", 2.0]


def test_columns_of_a_file_that_would_come_twice_are_refused():
    """The class "a:b" and the feature "c", and the class "a" and the feature "b:c"."""
    frame = pd.DataFrame(X[:, :2], columns=["c", "b:c"])
    fitted = LogisticRegression().fit(frame, np.resize(["a", "a:b", "other"], 40))
    model = ScoringModel(fitted, KernelScoringExplainer(TabularExplainer(fitted, frame)))
    with pytest.raises(PayloadError, match="'importance:a:b:c' would come twice"):
        flat_columns(model.predict_and_explain(model.schema.matrix(frame[:2]), ScoringRequest()))
