"""Real models that several test files share, trained once."""

from types import SimpleNamespace

import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer


@pytest.fixture(scope="session")
def breast_cancer():
    """The documents' example: calibrated SVC, 30 features, sampled coalitions."""
    data = load_breast_cancer(as_frame=True)
    x_train, x_test, y_train, _ = train_test_split(data.data, data.target, test_size=0.2, random_state=0)
    model = CalibratedClassifierCV(SVC(gamma=0.001, C=100), ensemble=False).fit(x_train, y_train)
    explainer = TabularExplainer(model, x_train, classes=list(data.target_names))
    return SimpleNamespace(
        model=model, x_train=x_train, rows=x_test[:4], explainer=explainer, scoring=KernelScoringExplainer(explainer)
    )


@pytest.fixture(scope="session")
def diabetes():
    """A regression with 10 features, so that every coalition is enumerated."""
    data = load_diabetes(as_frame=True, scaled=False)
    x_train, x_test, y_train, _ = train_test_split(data.data, data.target, test_size=0.2, random_state=0)
    model = make_pipeline(StandardScaler(), SVR(C=100)).fit(x_train, y_train)
    explainer = TabularExplainer(model, x_train)
    return SimpleNamespace(
        model=model, x_train=x_train, rows=x_test[:4], explainer=explainer, scoring=KernelScoringExplainer(explainer)
    )
