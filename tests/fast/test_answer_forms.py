"""Classifiers whose answers are not one number per class: what is explained, and under which names.

Pairs of classes, a single class, several labels or targets at once, votes, and labels alone.
"""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from service.engines.outputs import ModelOutput
from service.errors import ModelOutputError
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel, save
from service.scoring.request import ScoringRequest
from tests.shapley_by_definition import shapley_by_definition

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3))
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
N = 6  # background rows


def classes_of(n, names="wxyz"):
    """Classes by the first column, in falling order of their names."""
    ranks = np.argsort(np.argsort(X[:, 0])) * n // len(X)
    return np.array(list(names[:n]))[::-1][ranks]


def scored(model, explainer, rows, **request):
    """What is served for rows, self-check passed."""
    served = ScoringModel(model, KernelScoringExplainer(explainer))
    served.self_check()
    return served.score(rows.tolist(), ScoringRequest(**request))


def check(model, explainer, function, rows=X[60:61]):
    """Importances are those of the definition on the whole background."""
    result = explainer.row_explainer.explain(rows)
    for i, row in enumerate(rows):
        expected = shapley_by_definition(function, row, X[:N], np.ones(N))
        np.testing.assert_allclose(result.values[:, i], expected, rtol=0, atol=1e-9)
    assert len(explainer.classes) == len(result.values)


def pairs_as_classes(model, n_classes):
    """One-versus-rest margins from the pairs', straight from the definition of the vote."""

    def margins(rows):
        pairs = model.decision_function(rows)
        votes = np.zeros((len(rows), n_classes))
        confidences = np.zeros((len(rows), n_classes))
        k = 0
        for i in range(n_classes):
            for j in range(i + 1, n_classes):
                votes[:, i] += pairs[:, k] >= 0
                votes[:, j] += pairs[:, k] < 0
                confidences[:, i] += pairs[:, k]
                confidences[:, j] -= pairs[:, k]
                k += 1
        return votes + confidences / (3 * (np.abs(confidences) + 1))

    return margins


PAIRED = SVC(decision_function_shape="ovo")


@pytest.mark.parametrize(
    ("model", "n_classes"),
    [
        (PAIRED, 3),
        (PAIRED, 4),
        (SVC(kernel="linear", decision_function_shape="ovo"), 3),
        (SVC(kernel="poly", coef0=1, decision_function_shape="ovo"), 4),
        (SVC(kernel="sigmoid", decision_function_shape="ovo"), 3),
        (NuSVC(nu=0.3, decision_function_shape="ovo"), 3),
        (make_pipeline(StandardScaler(), PAIRED), 3),
        (GridSearchCV(PAIRED, {"C": [1, 10]}, cv=2), 4),
        (StackingClassifier([("n", GaussianNB())], PAIRED, passthrough=True, cv=2), 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_margins_of_pairs_are_explained_as_margins_of_classes(model, n_classes):
    """Each class has its one-versus-rest margin, and the predicted class has the largest."""
    model.fit(X, classes_of(n_classes))
    explainer = TabularExplainer(model, X[:N], output="margin")
    function = pairs_as_classes(model, n_classes)
    assert explainer.classes == model.classes_.tolist()
    check(model, explainer, function)
    assert_the_largest_is_predicted(model, explainer)
    scored(model, explainer, X[:3], top_k=1)


def assert_the_largest_is_predicted(model, explainer):
    """For nearly every row; the vote has ties of its own."""
    values = explainer.row_explainer.explain(X[::4])
    outputs = values.expected_values + values.values.sum(axis=2).T
    agree = model.classes_[outputs.argmax(axis=1)] == model.predict(X[::4])
    assert agree.mean() > 0.9


def test_a_model_around_pairs_is_told_by_what_it_predicts():
    """Nothing of the outside says so: a mean of pairwise margins, a class of somebody's own."""

    class Mine(BaseEstimator, ClassifierMixin):
        def fit(self, X, y):
            self.machine_ = SVC(decision_function_shape="ovo").fit(X, y)
            self.classes_ = self.machine_.classes_
            return self

        def predict(self, X):
            return self.machine_.predict(X)

        def decision_function(self, X):
            return self.machine_.decision_function(X)

    bagging = BaggingClassifier(PAIRED, 3, random_state=0)
    for model in (Mine(), bagging):
        model.fit(X, classes_of(3))
        explainer = TabularExplainer(model, X[::9], output="margin", surrogate=False)
        assert_the_largest_is_predicted(model, explainer)


@pytest.mark.parametrize(
    "model",
    [SVC(), OneVsOneClassifier(LinearSVC()), OneVsOneClassifier(PAIRED)],
)
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_margins_of_classes_stay_what_they_are(model, n_classes):
    """One-versus-rest already, and two classes with their single margin."""
    model.fit(X, classes_of(n_classes))
    explainer = TabularExplainer(model, X[:N], output="margin")

    def function(rows):
        margins = model.decision_function(rows)
        return margins if margins.ndim == 2 else np.stack([-margins, margins], axis=1)

    check(model, explainer, function)


@pytest.mark.parametrize("label", [0, "only"])
@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=3),
        LGBMClassifier(n_estimators=3, verbose=-1),
        XGBClassifier(n_estimators=3),
        MLPClassifier((4,), max_iter=3, random_state=0),
        RandomForestClassifier(3),
        DummyClassifier(),
        KNeighborsClassifier(),
        GaussianNB(),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore")  # the libraries have their own words for it
def test_a_single_class_is_explained_with_zeros(model, label):
    """A segment without an event: nothing drives anything, and the service answers."""
    if label == "only" and isinstance(model, XGBClassifier):
        pytest.skip("it takes numbers only")
    model.fit(X, np.full(len(X), label))
    explainer = TabularExplainer(model, X[:N])
    values = explainer.row_explainer.explain(X[:2]).values
    most = 0.2 if isinstance(model, MLPClassifier) else 1e-12  # it has learned little
    np.testing.assert_allclose(values, 0, atol=most)
    assert len(values) == len(explainer.classes)
    looks_into = not isinstance(model, DummyClassifier)
    assert (explainer.method != "kernel") == looks_into
    answer = scored(model, explainer, X[:2], top_k=1)
    assert answer["predictions"] == [label, label]
    assert np.shape(answer["top_importances"]) == (2, 1)


LABELS = (X + X[:, [1, 2, 0]] > 0).astype(int)


@pytest.mark.parametrize(
    "model",
    [
        ClassifierChain(LogisticRegression()),
        ClassifierChain(RidgeClassifier()),
        XGBClassifier(n_estimators=3),
        MLPClassifier((4,), max_iter=300, random_state=0),
        OneVsRestClassifier(LogisticRegression()),
        RidgeClassifier(),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("n_labels", [2, 3])
def test_several_labels_at_once_have_an_output_each(model, n_labels):
    """0, 1, … name them; the largest importances are given for each label."""
    if n_labels == 2 and isinstance(model, MLPClassifier | OneVsRestClassifier):
        pytest.skip("tested with three")
    model.fit(X, LABELS[:, :n_labels])
    explainer = TabularExplainer(model, X[:N])
    assert explainer.classes == list(range(n_labels))
    rows = X[60:63]
    result = explainer.row_explainer.explain(rows)
    method = {"margin": "decision_function", "probability": "predict_proba"}[explainer.output]
    if hasattr(model, method):
        outputs = getattr(model, method)(rows)
        sums = result.expected_values + result.values.sum(axis=2).T
        np.testing.assert_allclose(sums, outputs, rtol=0, atol=1e-6)
    answer = scored(model, explainer, rows, top_k=2)
    assert np.shape(answer["predictions"]) == (3, n_labels)
    assert np.shape(answer["top_importances"]) == (n_labels, 3, 2)


TARGETS = np.stack([np.where(X[:, 0] > 0, "up", "down"), classes_of(3)], axis=1)
NAMES = ["0: down", "0: up", "1: w", "1: x", "1: y"]


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (RandomForestClassifier(5, random_state=0), "tree"),
        (ExtraTreesClassifier(5, random_state=0), "tree"),
        (DecisionTreeClassifier(random_state=0), "tree"),
        (make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)), "tree"),
        (KNeighborsClassifier(), "kernel/neighbours"),
        (MultiOutputClassifier(GaussianNB()), "kernel/stacked"),
        (MultiOutputClassifier(LogisticRegression()), "kernel/linear"),
        (MultiOutputClassifier(DecisionTreeClassifier(max_depth=3)), "tree"),
        (
            MultiOutputClassifier(make_pipeline(StandardScaler(), LogisticRegression())),
            "kernel/stacked",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_several_targets_stand_one_after_another(model, method):
    """The probabilities of each target's classes, under the target's number and the label."""
    model.fit(X, TARGETS)
    explainer = TabularExplainer(model, X[:N])
    assert (explainer.classes, explainer.method) == (NAMES, method)
    check(model, explainer, lambda rows: np.hstack(model.predict_proba(rows)))
    answer = scored(model, explainer, X[:2], top_k=1)
    assert answer["predictions"] == model.predict(X[:2]).tolist()
    assert np.shape(answer["top_importances"]) == (5, 2, 1)


def test_several_targets_with_labels_alone_have_an_indicator_for_each_label():
    """MultiOutputClassifier of a classifier that has no probabilities."""
    model = MultiOutputClassifier(LinearSVC()).fit(X, TARGETS)
    explainer = TabularExplainer(model, X[:N])
    assert (explainer.classes, explainer.output) == (NAMES, "prediction")

    def function(rows):
        first, second = model.predict(rows).T
        return np.hstack([first[:, None] == ["down", "up"], second[:, None] == ["w", "x", "y"]])

    check(model, explainer, lambda rows: function(rows).astype(float))


MEMBERS = [
    ("f", RandomForestClassifier(5, random_state=0)),
    ("l", LogisticRegression()),
    ("n", GaussianNB()),
]


@pytest.mark.parametrize("weights", [None, [1, 2, 0.5]])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("is_piped", [False, True])
def test_a_hard_vote_is_explained_by_the_shares_of_the_votes(weights, n_classes, is_piped):
    """The sum of the importances tells the votes of the models inside."""
    vote = VotingClassifier(MEMBERS, weights=weights)
    model = make_pipeline(StandardScaler(), vote) if is_piped else vote
    model.fit(X, classes_of(n_classes))
    explainer = TabularExplainer(model, X[:N])
    assert (explainer.output, explainer.classes) == ("prediction", model.classes_.tolist())
    members = vote.named_estimators_.values()
    shares = np.ones(3) / 3 if weights is None else np.array(weights) / 3.5

    def function(rows):
        seen = model[0].transform(rows) if is_piped else rows
        total = 0.0
        for share, member in zip(shares, members, strict=True):
            total = total + share * (member.predict(seen)[:, None] == np.arange(n_classes))
        return total

    check(model, explainer, function)
    answer = scored(model, explainer, X[:5], top_k=1)
    assert answer["predictions"] == model.predict(X[:5]).tolist()


class LabelsAlone(BaseEstimator):
    """Somebody's own classifier: it says nothing of itself but what it predicts."""

    def __init__(self, labels=("no", "yes"), has_classes=True):
        self.labels, self.has_classes = labels, has_classes

    def fit(self, X, y=None):
        if self.has_classes:
            self.classes_ = np.array(self.labels)
        return self

    def predict(self, X):
        return np.array(self.labels)[(np.asarray(X)[:, 0] > 0).astype(int)]


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (OutputCodeClassifier(LogisticRegression(), random_state=0), "unknown"),
        (GridSearchCV(OutputCodeClassifier(LogisticRegression()), {"code_size": [2]}), "unknown"),
        (LabelsAlone(), "unknown"),
        (LabelsAlone((False, True)), "unknown"),
        (LabelsAlone(has_classes=False), "classification"),
        (LabelsAlone((3, 7), has_classes=False), "classification"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_labels_alone_are_explained_by_the_class_that_is_predicted(model, task):
    """1 for the predicted class, 0 for the others: what moves the prediction to another class."""
    model.fit(X, classes_of(3))
    explainer = TabularExplainer(model, X[:N], model_task=task)
    labels = np.unique(model.predict(X)).tolist()
    assert (explainer.classes, explainer.output) == (labels, "prediction")
    function = lambda rows: (model.predict(rows)[:, None] == labels).astype(float)  # noqa: E731
    check(model, explainer, function)
    answer = scored(model, explainer, X[:5], top_k=1)
    assert answer["predictions"] == model.predict(X[:5]).tolist()


class Columns:
    """A network's interface: `predict` gives a column for each class."""

    def __init__(self, n_columns, **known):
        self.n_columns = n_columns
        self.__dict__.update(known)

    def predict(self, rows):
        scores = np.exp(np.asarray(rows)[:, :1] * np.arange(self.n_columns))
        return scores / scores.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("model", "options", "names"),
    [
        (Columns(2, classes_=np.array(["no", "yes"])), {}, ["no", "yes"]),
        (Columns(2, classes_=np.array(["no", "yes", "never seen"])), {}, [0, 1]),
        (Columns(3), {"model_task": "classification"}, [0, 1, 2]),
        (Columns(2), {"classes": ["no", "yes"]}, ["no", "yes"]),
    ],
)
def test_columns_from_predict_alone_are_explained_as_they_are(model, options, names):
    """One per class; the names are the model's where it has as many, else numbers."""
    explainer = TabularExplainer(model, X[:N], **options)
    assert explainer.classes == names
    check(model, explainer, model.predict)
    assert np.shape(scored(model, explainer, X[:4], top_k=1)["top_importances"])[-1] == 1


def test_numbers_that_are_no_labels_are_refused_in_plain_words():
    """One column of scores from a model that is said to be a classifier."""

    class Scores:
        def predict(self, rows):
            return rows[:, 0] / 2

    for options in ({"model_task": "classification"}, {"classes": ["no", "yes"]}):
        with pytest.raises(ModelOutputError, match=r"Scores\.predict: expected a label a row"):
            TabularExplainer(Scores(), X, **options)


def test_names_that_were_given_are_counted():
    """A message only where the user gave names."""
    model = RidgeClassifier().fit(X, LABELS)
    with pytest.raises(ValueError, match=r"classes: expected 3 names, .* got 2"):
        TabularExplainer(model, X[:N], classes=["a", "b"])
    assert TabularExplainer(model, X[:N], classes=["a", "b", "c"]).classes == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (VotingClassifier(MEMBERS), classes_of(2)),
        (RandomForestClassifier(5, random_state=0), TARGETS),
        (OutputCodeClassifier(LogisticRegression(), random_state=0), classes_of(3)),
        (SVC(decision_function_shape="ovo"), classes_of(3)),
        (ClassifierChain(LogisticRegression()), LABELS),
        (HistGradientBoostingClassifier(max_iter=3), np.full(len(X), "only")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_they_are_saved_and_served(model, y, tmp_path):
    """The same answer from the folder; its manifest has names of plain values."""
    model.fit(FRAME, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, FRAME[:N]))
    save(explainer, tmp_path / "saved", original_model=model)
    served = ScoringModel.load(tmp_path / "saved")
    served.self_check()
    request = ScoringRequest(top_k=1)
    body = FRAME[:3].to_json(orient="records")
    assert served.score(body, request).to_dict() == (
        ScoringModel(model, explainer).score(body, request).to_dict()
    )


def test_a_gradient_boosting_of_two_classes_keeps_its_names():
    """The usual case beside all these: labels of numpy become plain values."""
    model = GradientBoostingClassifier(n_estimators=3).fit(X, classes_of(2))
    explainer = TabularExplainer(model, X[:N])
    assert explainer.classes == ["w", "x"]
    assert isinstance(explainer.row_explainer.function, ModelOutput)


@pytest.mark.filterwarnings("ignore:Cannot compute class probabilities")  # LightGBM's own
def test_scores_in_place_of_probabilities_are_said():
    """As LightGBM answers them, fitted with an objective of one's own."""

    def logistic(target, margins):
        shares = 1.0 / (1.0 + np.exp(-margins))
        return shares - target, shares * (1.0 - shares)

    rows = np.random.default_rng(0).normal(size=(60, 2))
    own = LGBMClassifier(objective=logistic, n_estimators=3, verbose=-1, n_jobs=1)
    own.fit(rows, (rows[:, 0] > 0).astype(int))
    with pytest.warns(UserWarning, match="predict_proba answers numbers from -.* no probabilities"):
        TabularExplainer(own, rows, output="probability")
    assert TabularExplainer(own, rows).output == "margin"
