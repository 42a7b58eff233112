"""What people who come from azureml-interpret write works, or is answered by a sentence."""

import shutil
from enum import Enum

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPRegressor

import service.scoring
from service.errors import ModelOutputError
from service.explainers import (
    DeepExplainer,
    KernelExplainer,
    LinearExplainableModel,
    LinearExplainer,
    MimicExplainer,
    PFIExplainer,
    TabularExplainer,
)
from service.scoring import (
    DigestError,
    KernelScoringExplainer,
    LinearScoringExplainer,
    ManifestError,
    TreeScoringExplainer,
    load,
    save,
)

ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["a", "b", "c"])
LABELS = (ROWS["a"] > 0).to_numpy()
CLASSIFIER = LogisticRegression().fit(ROWS, LABELS)
REGRESSOR = LinearRegression().fit(ROWS, 2 * ROWS["a"] - ROWS["b"])


class Network:
    """Like Keras: `predict` has a column of shares for each class, and there is nothing else."""

    def predict(self, rows, verbose=0):
        share = 1 / (1 + np.exp(-np.asarray(rows)[:, 0]))
        return np.column_stack([1 - share, share]).astype(np.float32)


class Labels:
    """A classifier that predicts, and has no more to say."""

    classes_ = np.array(["no", "yes"])

    def predict(self, rows):
        return self.classes_[(np.asarray(rows)[:, 0] > 0).astype(int)]


class ModelTask(str, Enum):  # noqa: UP042  # as interpret-community has it
    Classification = "classification"


class PlainTask(Enum):
    Classification = "classification"


@pytest.mark.parametrize("model", [CLASSIFIER, REGRESSOR], ids=["classifier", "regressor"])
def test_one_row_without_an_axis_of_rows_is_answered_without_one(model):
    """A Series and an array of one axis; the numbers are those of the table of one row."""
    explainer = TabularExplainer(model, ROWS)
    table = explainer.explain_local(ROWS[:1])
    for row in (ROWS.iloc[0], ROWS.to_numpy()[0]):
        local = explainer.explain_local(row)
        pairs = [
            (local.local_importance_values, table.local_importance_values),
            (local.get_ranked_local_names(), table.get_ranked_local_names()),
            (local.get_ranked_local_values(2), table.get_ranked_local_values(2)),
            (local.get_local_importance_rank(), table.get_local_importance_rank()),
        ]
        for of_row, of_table in pairs:
            np.testing.assert_array_equal(of_row, np.array(of_table)[..., 0, :])
        assert len(local) == 1
        assert local.eval_y_predicted == local.predictions == table.eval_y_predicted[0]
        shaped, of_shaped = local.to_shap(), table.to_shap()[0]
        for part in ("values", "base_values", "data"):
            np.testing.assert_array_equal(getattr(shaped, part), getattr(of_shaped, part))
        if model is CLASSIFIER:
            assert local.eval_y_predicted_proba == table.eval_y_predicted_proba[0]


@pytest.mark.parametrize("name", ["r5", 5, ("a", 1)], ids=str)
def test_the_name_of_a_series_is_the_label_of_its_row(name):
    """As it is in the DataFrame that the row was taken of; without a name it is row 0."""
    explainer = TabularExplainer(REGRESSOR, ROWS)
    assert explainer.explain_local(ROWS.iloc[0].rename(name)).row_labels == [name]
    assert explainer.explain_local(ROWS.iloc[0].rename(None)).row_labels == [0]


def test_five_arguments_may_be_given_by_position():
    """model, examples, explain_subset, features, classes."""
    explainer = TabularExplainer(CLASSIFIER, ROWS, ["B"], ["A", "B", "C"], ["no", "yes"])
    assert (explainer.features, explainer.classes) == (["B"], ["no", "yes"])


def test_words_without_meaning_here_are_taken_and_said():
    """What changes nothing is silent, what was hoped for in vain is a warning."""
    TabularExplainer(CLASSIFIER, ROWS, use_gpu=False, allow_all_transformations=True)
    with pytest.warns(UserWarning, match="use_gpu: no engine is for graphics cards"):
        explainer = TabularExplainer(CLASSIFIER, ROWS, use_gpu=True)
    with pytest.warns(UserWarning, match="sampling_policy: all rows are explained"):
        explainer.explain_global(ROWS, sampling_policy=object())


def test_a_model_may_be_taken_as_a_function():
    """Also one that has `predict`; what cannot be called is refused."""

    class Both(Network):
        def __call__(self, rows):
            return np.asarray(rows)[:, 1] * 2.0

    explainer = TabularExplainer(Both(), ROWS.to_numpy(), is_function=True)
    (values,) = explainer.explain_local(ROWS.to_numpy()[:1]).local_importance_values
    expected = 2 * (ROWS["b"][0] - ROWS["b"].mean())
    np.testing.assert_allclose(values, [0, expected, 0], rtol=0, atol=1e-9)
    with pytest.raises(TypeError, match="is_function: expected a model that can be called"):
        TabularExplainer(CLASSIFIER, ROWS, is_function=True)


@pytest.mark.parametrize("task", ["unknown", "classification", *ModelTask, *PlainTask])
def test_a_network_that_answers_shares_is_a_classifier(task):
    """By its answers, by a word, or by a member of an Enum, which is shown as its word."""
    explainer = TabularExplainer(Network(), ROWS.to_numpy(), model_task=task)
    local = explainer.explain_local(ROWS.to_numpy()[:2])
    assert (local.classes, local.model_task) == ([0, 1], "classification")
    assert KernelScoringExplainer(explainer).to_dict()["task"] == "classification"
    sums = np.array(local.local_importance_values).sum(axis=2).T + local.expected_values
    np.testing.assert_allclose(sums, Network().predict(ROWS[:2]), rtol=0, atol=1e-6)


class OneSigmoid:
    """What a network with one sigmoid looks like."""

    def predict(self, rows):
        return 1 / (1 + np.exp(-np.asarray(rows)[:, :1]))


@pytest.mark.parametrize("form", ["predict", "function", "array of one axis"])
def test_one_column_of_probabilities_is_that_of_the_second_class(form):
    """[1 − p, p] where a classification is asked for; what leaves 0 to 1 is refused later too."""
    model = OneSigmoid()
    forms = {"predict": model, "function": model.predict}
    asked = forms.get(form, lambda rows: model.predict(rows)[:, 0])
    rows = ROWS.to_numpy()
    for told in ({}, {"model_task": "classification"}):
        explainer = TabularExplainer(asked, rows, classes=["no", "yes"], **told)
    local = explainer.explain_local(rows[:4])
    sums = np.array(local.local_importance_values).sum(axis=2).T + local.expected_values
    second = model.predict(rows[:4])
    np.testing.assert_allclose(sums, np.hstack([1 - second, second]), rtol=0, atol=1e-9)
    assert local.classes == ["no", "yes"]
    largest = np.abs(rows).max()
    grown = TabularExplainer(
        lambda rows: np.abs(rows[:, 0]) / largest, rows, model_task="classification"
    )
    with pytest.raises(ModelOutputError, match="from 0 to 1, as for the examples, got"):
        grown.explain_local(rows[:1] + 10)


def test_a_classifier_that_only_predicts_is_explained():
    """1 for the class that is predicted."""
    local = TabularExplainer(Labels(), ROWS.to_numpy()).explain_local(ROWS.to_numpy()[:2])
    assert local.classes == ["no", "yes"]
    sums = np.array(local.local_importance_values).sum(axis=2)[1] + local.expected_values[1]
    np.testing.assert_allclose(sums, ROWS["a"][:2] > 0, rtol=0, atol=1e-9)


def test_members_of_plain_enums_are_words_to_every_explainer():
    """Also of options that other libraries have no Enum for."""
    plain = Enum("Plain", ["regression", "prediction", "kernel", "default", "whole"])
    words = Enum("Words", {name: name for name in plain.__members__})
    model = REGRESSOR
    network = MLPRegressor(hidden_layer_sizes=(2,), max_iter=2000, tol=1)
    told = {"model_task": words.regression}
    called = TabularExplainer(
        model, ROWS, output=words.prediction, engine=words.kernel, background=words.whole, **told
    )
    assert (called.method, called.output) == ("kernel", "prediction")
    assert called.row_explainer.options.engine == "kernel"
    explainers = [
        KernelExplainer(model, ROWS, **told),
        LinearExplainer(model, ROWS, **told),
        DeepExplainer(network.fit(ROWS, LABELS), ROWS, **told),
        MimicExplainer(
            model, ROWS, LinearExplainableModel, shap_values_output=words.default, **told
        ),
    ]
    for explainer in explainers:
        assert explainer.explain_local(ROWS[:1]).model_task == "regression"
    overall = PFIExplainer(model, **told).explain_global(ROWS, LABELS)
    assert overall.model_task == "regression"
    with pytest.raises(ValueError, match=r"model_task: expected one of .*, got 1"):
        TabularExplainer(model, ROWS, model_task=plain.regression)


@pytest.mark.parametrize("classes", [["a", "a"], np.array([1, 1])], ids=str)
def test_names_of_classes_are_different(classes):
    """Otherwise an answer by class would be that of another."""
    with pytest.raises(ValueError, match=r"classes: expected different names, .* comes 2 times"):
        TabularExplainer(CLASSIFIER, ROWS, classes=classes)
    with pytest.raises(ValueError, match=r"classes: expected different names, .* comes 2 times"):
        PFIExplainer(CLASSIFIER, classes=classes)


def test_names_of_a_subset_want_names():
    """Of an array without `features=` they are refused, and the cure is named."""
    unnamed = LinearRegression().fit(ROWS.to_numpy(), LABELS)
    with pytest.raises(ValueError, match="no names, so give positions, or name all by features="):
        TabularExplainer(unnamed, ROWS.to_numpy(), ["mean radius"])


def test_the_scoring_explainers_of_old_are_names_of_the_one():
    """It keeps the engine of the explainer that it is made from."""
    assert TreeScoringExplainer is LinearScoringExplainer is KernelScoringExplainer
    assert {"TreeScoringExplainer", "LinearScoringExplainer"} <= set(service.scoring.__all__)


def test_the_one_file_that_a_registry_moved_is_loaded_and_checked(tmp_path):
    """Its manifest is behind the pickle; what was changed is refused before it is unpickled."""
    explainer = KernelScoringExplainer(TabularExplainer(REGRESSOR, ROWS))
    path = save(explainer, tmp_path / "saved")
    moved = tmp_path / "model.bin"
    shutil.copy(path, moved)
    expected = explainer.explain(ROWS[:3])
    assert load(moved).explain(ROWS[:3]) == expected
    assert load(path).explain(ROWS[:3]) == expected
    assert joblib.load(moved).explain(ROWS[:3]) == expected
    content = moved.read_bytes()
    moved.write_bytes(content[:50] + b"?" + content[51:])
    with pytest.raises(DigestError):
        load(moved)
    for end in (-1, -20, 0, 30):
        moved.write_bytes(content[:end])
        with pytest.raises(ManifestError, match=r"looked for model.json or scoring_explainer.json"):
            load(moved)
