"""Real models that several test files share, trained once."""

from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest
from mixed import mixed_classifier, mixed_frame, mixed_regressor
from serving import serving
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from service.explainers import TabularExplainer
from service.runs import Run, Workspace
from service.runs.surroundings import uri_of
from service.scoring import KernelScoringExplainer, save
from service.shapley import kernels


def pytest_addoption(parser):
    """`--kernels=numpy` leaves the compiled kernels out."""
    parser.addoption("--kernels", choices=["compiled", "numpy"], default="compiled")


def pytest_configure(config):
    if config.getoption("--kernels") == "numpy":
        kernels.current = kernels.NumpyKernels()


@pytest.fixture(autouse=True)
def own_numbers(request, monkeypatch):
    """A test draws the same numbers, whichever tests ran before it in its process."""
    seed = crc32(request.node.name.encode())
    np.random.seed(seed)
    for name, value in list(vars(request.module).items()):
        if isinstance(value, np.random.Generator):
            monkeypatch.setattr(request.module, name, np.random.default_rng(seed))


@pytest.fixture(scope="session")
def breast_cancer():
    """The documents' example: calibrated SVC, 30 features, sampled coalitions."""
    data = load_breast_cancer(as_frame=True)
    x_train, x_test, y_train, _ = train_test_split(
        data.data, data.target, test_size=0.2, random_state=0
    )
    model = CalibratedClassifierCV(SVC(gamma=0.001, C=100), ensemble=False).fit(x_train, y_train)
    explainer = TabularExplainer(model, x_train, classes=list(data.target_names))
    return SimpleNamespace(
        model=model,
        x_train=x_train,
        rows=x_test[:4],
        explainer=explainer,
        scoring=KernelScoringExplainer(explainer),
    )


@pytest.fixture(scope="session")
def diabetes():
    """A regression with 10 features, so that every coalition is enumerated."""
    data = load_diabetes(as_frame=True, scaled=False)
    x_train, x_test, y_train, _ = train_test_split(
        data.data, data.target, test_size=0.2, random_state=0
    )
    model = make_pipeline(StandardScaler(), SVR(C=100)).fit(x_train, y_train)
    explainer = TabularExplainer(model, x_train)
    return SimpleNamespace(
        model=model,
        x_train=x_train,
        rows=x_test[:4],
        explainer=explainer,
        scoring=KernelScoringExplainer(explainer),
    )


def saved(model, examples, folder):
    """Save a model with its scoring explainer where the service looks for them."""
    save(
        KernelScoringExplainer(TabularExplainer(model, examples)),
        folder,
        exist_ok=True,
        original_model=model,
    )
    return folder


@pytest.fixture(scope="session")
def mixed():
    """Rows with every kind of column, a classifier of three classes and a regression fitted on
    them.
    """
    frame = mixed_frame()
    return SimpleNamespace(
        frame=frame,
        rows=frame.iloc[:4],
        classifier=mixed_classifier(frame),
        regressor=mixed_regressor(frame),
    )


@pytest.fixture(scope="session")
def mixed_classifier_folder(mixed, tmp_path_factory):
    return saved(mixed.classifier, mixed.frame, tmp_path_factory.mktemp("mixed_classifier"))


@pytest.fixture(scope="session")
def mixed_regressor_folder(mixed, tmp_path_factory):
    return saved(mixed.regressor, mixed.frame, tmp_path_factory.mktemp("mixed_regressor"))


@pytest.fixture(scope="session")
def breast_cancer_folder(breast_cancer, tmp_path_factory):
    return saved(
        breast_cancer.model, breast_cancer.x_train, tmp_path_factory.mktemp("breast_cancer")
    )


@pytest.fixture(scope="session")
def iris():
    return load_iris(as_frame=True).data


@pytest.fixture(scope="session")
def iris_model(iris):
    return KNeighborsClassifier(15).fit(iris, load_iris().target)


@pytest.fixture(scope="session")
def iris_folder(iris_model, iris, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    explainer = TabularExplainer(
        iris_model, iris[::2], classes=["setosa", "versicolor", "virginica"]
    )
    save(KernelScoringExplainer(explainer), folder, exist_ok=True, original_model=iris_model)
    return folder


@pytest.fixture(scope="session")
def four_rows(iris):
    """Rows out of order and of every class: an answer sorted by row label would differ."""
    return iris.loc[[101, 7, 77, 133]]


@pytest.fixture(scope="session")
def service(iris_folder, tmp_path_factory):
    """The service as it comes: score.py and a trained model."""
    with serving(tmp_path_factory.mktemp("service"), AZUREML_MODEL_DIR=str(iris_folder)) as running:
        yield running


@pytest.fixture(scope="session")
def classifier_service(mixed_classifier_folder, tmp_path_factory):
    """Three classes, from rows of every kind."""
    with serving(
        tmp_path_factory.mktemp("service"), AZUREML_MODEL_DIR=str(mixed_classifier_folder)
    ) as running:
        yield running


@pytest.fixture(scope="session")
def regressor_service(mixed_regressor_folder, tmp_path_factory):
    """A regression on rows of every kind."""
    with serving(
        tmp_path_factory.mktemp("service"), AZUREML_MODEL_DIR=str(mixed_regressor_folder)
    ) as running:
        yield running


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory):
    """The folder of an embedded store of runs, made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("runs")
    Workspace(uri_of(folder)).engine  # noqa: B018
    return folder


@pytest.fixture
def workspace(runs_folder, request):
    """A workspace with an experiment for this test alone."""
    name = request.node.name[-180:].strip()
    return Workspace(uri_of(runs_folder), experiment=name)


@pytest.fixture
def run(workspace):
    return Run(workspace, workspace.create_run())
