import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout

import joblib
import numpy as np
import pandas as pd
import pytest
import shap
from shapley_by_definition import shapley_by_definition
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from tqdm import tqdm

from service.engines import engine, progress
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, PayloadError, ScoringModel, save


def test_the_documents_example_adds_up_to_the_served_probability(breast_cancer):
    """Σ importances + expected value = predict_proba to 1e-9, for every class and row; axes are
    class, row, feature.
    """
    values = np.array(breast_cancer.scoring.explain(breast_cancer.rows))
    assert values.shape == (2, 4, 30)
    assert np.ptp(values) > 0.1
    sums = values.sum(axis=2).T + breast_cancer.scoring.expected_values
    np.testing.assert_allclose(
        sums, breast_cancer.model.predict_proba(breast_cancer.rows), rtol=0, atol=1e-9
    )


def test_enumerated_importances_are_those_of_the_definition(diabetes):
    """Four rows of a real model with ten features, every coalition on a given background: to 1e-10
    of the largest.
    """
    background = diabetes.x_train[:12]
    explainer = KernelScoringExplainer(
        TabularExplainer(diabetes.model, background, engine="kernel")
    )
    assert explainer.method == "kernel"

    def predict(x):
        return diabetes.model.predict(pd.DataFrame(x, columns=diabetes.rows.columns))

    result = explainer.explain_rows(diabetes.rows)
    assert (result.standard_errors == 0).all()
    for row, importances in zip(diabetes.rows.to_numpy(), result.values, strict=True):
        expected = shapley_by_definition(predict, row, background.to_numpy(), np.ones(12))[0]
        np.testing.assert_allclose(
            importances, expected, rtol=0, atol=1e-10 * np.abs(expected).max()
        )


def test_it_gives_the_numbers_of_the_explainer_it_is_made_from(breast_cancer, diabetes):
    """What the notebook showed is what is served: the same bytes."""
    for case in (breast_cancer, diabetes):
        assert (
            case.scoring.explain(case.rows)
            == case.explainer.explain_local(case.rows).local_importance_values
        )
        assert (case.scoring.method, case.scoring.output) == (
            case.explainer.method,
            case.explainer.output,
        )
        assert (case.scoring.features, case.scoring.classes) == (
            case.explainer.features,
            case.explainer.classes,
        )


def test_it_is_made_from_a_shap_kernel_explainer_too(diabetes):
    """Same model, background and weights as shap: the same numbers to 1e-6, where both
    enumerate.
    """
    x_train = diabetes.x_train.to_numpy()
    model = clone(diabetes.model).fit(x_train, x_train[:, 2] * x_train[:, 3] + x_train[:, 8])
    original = shap.KernelExplainer(model.predict, shap.kmeans(x_train, 10))
    scoring = KernelScoringExplainer(original)
    rows = diabetes.rows.to_numpy()
    theirs = original.shap_values(rows, l1_reg=False, silent=True)
    assert np.ptp(theirs) > 1
    np.testing.assert_allclose(scoring.explain(rows), theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(scoring.expected_values, original.expected_value)


@pytest.mark.filterwarnings(
    "ignore:X does not have valid feature names"
)  # shap itself drops the names
def test_a_shap_explainer_of_predict_proba_keeps_classes_and_names(breast_cancer):
    """The bound method tells the model: its classes, its scale, and that it wants a DataFrame."""
    original = shap.KernelExplainer(breast_cancer.model.predict_proba, breast_cancer.x_train[:5])
    scoring = KernelScoringExplainer(original, nsamples=120)
    assert (scoring.classes, scoring.output) == ([0, 1], "probability")
    assert scoring.features == list(breast_cancer.x_train.columns)
    sums = np.array(scoring.explain(breast_cancer.rows)).sum(axis=2).T + scoring.expected_values
    np.testing.assert_allclose(
        sums, breast_cancer.model.predict_proba(breast_cancer.rows), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(
    "rows_of", [lambda x: x[:5], lambda x: shap.kmeans(x, 5), lambda x: x[:5].to_numpy()]
)
def test_a_shap_explainer_of_a_model_with_names_serves_without_a_warning(rows_of):
    """shap takes the names from its copy of the model; rows read here fit the original model all
    the same.
    """
    data = load_breast_cancer(as_frame=True)
    x_train = data.data.iloc[:, :6]
    model = RandomForestClassifier(5, random_state=0).fit(x_train, data.target)
    original = shap.KernelExplainer(
        model.predict_proba, rows_of(x_train), feature_names=list(x_train.columns)
    )
    scoring = KernelScoringExplainer(original)
    rows = scoring.read_rows(x_train[:3].to_json())
    np.testing.assert_array_equal(model.predict(rows), model.predict(x_train[:3]))
    sums = np.array(scoring.explain(rows)).sum(axis=2).T + scoring.expected_values
    np.testing.assert_allclose(sums, model.predict_proba(x_train[:3]), rtol=0, atol=1e-9)


def test_a_shap_explainer_of_predict_keeps_a_regressor_whole_and_a_classifier_as_a_function():
    """A regressor has its structure explained, with several targets too; labels are no output of a
    classifier.
    """
    X, y = make_classification(100, 5, random_state=0)
    ridge = KernelScoringExplainer(shap.KernelExplainer(Ridge().fit(X, y).predict, X[:10]))
    assert (ridge.method, ridge.output, np.shape(ridge.explain(X[:3]))) == (
        "linear",
        "prediction",
        (3, 5),
    )
    two = KernelScoringExplainer(
        shap.KernelExplainer(Ridge().fit(X, np.stack([y, -y], axis=1)).predict, X[:10])
    )
    assert (two.classes, np.shape(two.explain(X[:3])), np.shape(two.expected_values)) == (
        None,
        (2, 3, 5),
        (2,),
    )
    labels = KernelScoringExplainer(
        shap.KernelExplainer(LogisticRegression().fit(X, y).predict, X[:10])
    )
    assert (labels.method, labels.output, labels.classes) == ("kernel", "prediction", None)


def test_a_shap_explainer_that_keeps_the_index_is_refused():
    """Its function expects an index, and served rows have none."""
    x_train = pd.DataFrame(np.eye(3), columns=["a", "b", "c"])
    original = shap.KernelExplainer(lambda x: x.to_numpy().sum(axis=1), x_train, keep_index=True)
    with pytest.raises(ValueError, match=r"expected a shap.KernelExplainer with keep_index=False"):
        KernelScoringExplainer(original)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_what_it_cannot_be_made_from_is_refused(breast_cancer):
    """Another kind of object, or a link that changes the target."""
    with pytest.raises(
        TypeError,
        match=r"one of service\.explainers that explains rows .* or a shap\.KernelExplainer, "
        "got CalibratedClassifierCV",
    ):
        KernelScoringExplainer(breast_cancer.model)
    logit = shap.KernelExplainer(
        breast_cancer.model.predict_proba, breast_cancer.x_train[:5], link="logit"
    )
    with pytest.raises(ValueError, match="link='identity'"):
        KernelScoringExplainer(logit)


def test_initialization_examples_replace_the_background(diabetes):
    """Another background, the same everything else."""
    scoring = KernelScoringExplainer(diabetes.explainer, diabetes.x_train[:20])
    assert scoring.to_dict()["background"] == {
        "kind": "whole",
        "n_rows": 20,
        "n_examples": 20,
        "relative_error": 0.0,
    }
    assert scoring.expected_values == pytest.approx(
        diabetes.model.predict(diabetes.x_train[:20]).mean()
    )
    assert scoring.features == diabetes.scoring.features


def test_examples_are_matched_by_name_and_change_nothing_but_the_background(diabetes):
    """Reordered columns give the same explainer; columns that are not the model's are refused."""
    few = diabetes.x_train[:20]
    expected = KernelScoringExplainer(diabetes.explainer, few)
    reordered = KernelScoringExplainer(diabetes.explainer, few[few.columns[::-1]])
    assert reordered.schema == expected.schema == diabetes.scoring.schema
    assert reordered.explain(diabetes.rows) == expected.explain(diabetes.rows)
    with pytest.raises(ValueError, match="missing column 'age'"):
        KernelScoringExplainer(diabetes.explainer, few.drop(columns="age"))


def test_new_names_go_all_the_way_to_the_client(diabetes):
    """features= names the columns that rows are sent with; the model still gets its own."""
    names = [f"Feature {i}" for i in range(10)]
    scoring = KernelScoringExplainer(
        TabularExplainer(diabetes.model, diabetes.x_train[:50], features=names)
    )
    assert scoring.features == names
    rows = scoring.read_rows(diabetes.rows.set_axis(names, axis=1).to_json())
    np.testing.assert_array_equal(
        diabetes.model.predict(rows), diabetes.model.predict(diabetes.rows)
    )
    assert scoring.explain(rows) == scoring.explain(diabetes.rows)


def test_it_samples_as_the_original_unless_told_otherwise():
    """nsamples and random_state are inherited one by one, also onto another background."""
    X = np.random.default_rng(0).normal(size=(40, 12))
    original = TabularExplainer(
        lambda x: np.tanh(x.sum(axis=1)), X, nsamples=np.int64(200), random_state=7
    )
    for arguments, expected in [
        ({}, (200, 7)),
        ({"nsamples": 100}, (100, 7)),
        ({"random_state": 3}, (200, 3)),
        ({"initialization_examples": X[:20]}, (200, 7)),
        ({"nsamples": "auto", "random_state": 0}, ("auto", 0)),
    ]:
        described = KernelScoringExplainer(original, **arguments).to_dict()
        assert (described["nsamples"], described["random_state"]) == expected
        json.dumps(described)
    same = KernelScoringExplainer(original).explain(X[:2])
    assert same == original.explain_local(X[:2]).local_importance_values


def test_nsamples_and_seed_decide_the_sampled_coalitions(breast_cancer):
    """Other seeds and budgets give other estimates, all additive; the same ones the same bytes."""
    row = breast_cancer.rows[:1]
    estimates = [
        np.array(
            KernelScoringExplainer(breast_cancer.explainer, nsamples=n, random_state=seed).explain(
                row
            )
        )
        for n, seed in [(200, 0), (200, 0), (200, 1), (400, 0)]
    ]
    assert (estimates[0] == estimates[1]).all()
    assert (estimates[0] != estimates[2]).any()
    assert (estimates[0] != estimates[3]).any()
    for estimate in estimates:
        np.testing.assert_allclose(
            estimate.sum(axis=2), estimates[0].sum(axis=2), rtol=0, atol=1e-12
        )
    with pytest.raises(ValueError, match="expected at least 120 coalitions for 30 features"):
        KernelScoringExplainer(breast_cancer.explainer, nsamples=50)
    with pytest.raises(
        ValueError, match="expected at least 120 coalitions for 30 features, got 119"
    ):
        TabularExplainer(lambda x: x.sum(axis=1), breast_cancer.x_train[:20], nsamples=119)


def test_every_form_of_the_rows_gives_the_same_bytes(breast_cancer):
    """DataFrame, shuffled columns, array, records, JSON text: one answer."""
    rows, scoring = (
        breast_cancer.rows[:2],
        KernelScoringExplainer(breast_cancer.explainer, nsamples=200),
    )
    expected = scoring.explain(rows)
    for form in (
        rows[rows.columns[::-1]],
        rows.to_numpy(),
        rows.to_dict("records"),
        scoring.read_rows(rows.to_json()),
    ):
        assert scoring.explain(form) == expected
    with pytest.raises(PayloadError, match="missing column 'mean radius'"):
        scoring.explain(rows.drop(columns="mean radius"))


def test_a_row_has_the_same_bytes_alone_and_in_a_batch(breast_cancer):
    """Its company changes nothing."""
    scoring = KernelScoringExplainer(breast_cancer.explainer, nsamples=120)
    rows = breast_cancer.x_train[:64]
    batch = scoring.explain_rows(rows).values
    for i in (0, 17, 63):
        assert batch[:, i].tobytes() == scoring.explain_rows(rows[i : i + 1]).values.tobytes()


def test_eight_threads_share_one_explainer(breast_cancer):
    """The bytes of one thread, from eight at once."""
    scoring = KernelScoringExplainer(breast_cancer.explainer, nsamples=200)
    expected = [
        scoring.explain_rows(breast_cancer.rows[i : i + 1]).values.tobytes() for i in range(4)
    ]
    with ThreadPoolExecutor(8) as pool:
        rows = [breast_cancer.rows[i % 4 : i % 4 + 1] for i in range(32)]
        answers = list(pool.map(lambda row: scoring.explain_rows(row).values.tobytes(), rows))
    assert answers == expected * 8


def test_two_processes_give_the_same_bytes():
    """The same seed in this process and in a fresh one: the same digest of the importances."""
    script = (
        "import hashlib, numpy as np\n"
        "from service.explainers import TabularExplainer\n"
        "from service.scoring import KernelScoringExplainer\n"
        "X = np.random.default_rng(0).normal(size=(300, 15))\n"
        "f = lambda x: np.tanh(x[:, 0] * x[:, 1] * x[:, 2]) + x.sum(axis=1) ** 2\n"
        "explainer = KernelScoringExplainer(TabularExplainer(f, X), random_state=7)\n"
        "values = explainer.explain_rows(X[:3]).values\n"
        "assert np.ptp(values) > 0.1\n"
        "print(hashlib.sha256(values.tobytes()).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    with redirect_stdout(io.StringIO()) as here:
        exec(script, {})
    assert here.getvalue() == done.stdout.decode()


def test_it_ends_a_scikit_learn_pipeline(diabetes):
    """fit does nothing and predict explains."""
    pipeline = Pipeline([("same", FunctionTransformer()), ("explain", diabetes.scoring)]).fit(
        diabetes.rows
    )
    assert pipeline.predict(diabetes.rows) == diabetes.scoring.explain(diabetes.rows)


def test_a_linear_choice_can_be_served(breast_cancer):
    """The original's engine is kept, also when it needs no Kernel SHAP at all."""
    model = LogisticRegression(max_iter=10_000).fit(
        breast_cancer.x_train.to_numpy(), range(455) > np.full(455, 200)
    )
    scoring = KernelScoringExplainer(TabularExplainer(model, breast_cancer.x_train.to_numpy()))
    assert (scoring.method, scoring.output) == ("linear", "margin")
    margins = (
        np.array(scoring.explain(breast_cancer.rows.to_numpy()))[1].sum(axis=1)
        + scoring.expected_values[1]
    )
    np.testing.assert_allclose(margins, model.decision_function(breast_cancer.rows.to_numpy()))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_parallel_jobs_give_the_same_bytes_on_any_backend(breast_cancer, backend, monkeypatch):
    """Rows cut into jobs, in processes or threads: values and standard errors as without them."""
    monkeypatch.setattr(engine, "SHORT", 0.0)
    rows = breast_cancer.x_train[:6]
    expected = breast_cancer.scoring.explain_rows(rows)
    with joblib.parallel_config(backend=backend):
        result = breast_cancer.scoring.explain_rows(rows, n_jobs=2)
    assert result.values.tobytes() == expected.values.tobytes()
    assert result.standard_errors.tobytes() == expected.standard_errors.tobytes()


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_jobs_are_threads_where_nothing_forbids_it(breast_cancer, n_jobs, monkeypatch):
    """The documents' four rows start at once, with the same bytes, and no process starts."""
    monkeypatch.setattr(engine, "SHORT", 0.0)
    monkeypatch.setattr("joblib.externals.loky.get_reusable_executor", None)
    rows = breast_cancer.rows
    result = breast_cancer.scoring.explain_rows(rows, n_jobs=n_jobs)
    assert result.values.tobytes() == breast_cancer.scoring.explain_rows(rows).values.tobytes()


def test_short_work_starts_no_jobs(breast_cancer, diabetes, monkeypatch):
    """Processes take seconds to start: the same bytes without them, of one row and more."""

    def refuse(**_):
        raise AssertionError("expected no jobs")

    monkeypatch.setattr(engine, "Parallel", refuse)
    monkeypatch.setattr(engine, "SHORT", 600.0)
    for scoring, rows in (
        (breast_cancer.scoring, breast_cancer.rows),
        (diabetes.scoring, diabetes.rows),
    ):
        for few in (rows[:1], rows[:2], rows):
            expected = scoring.explain_rows(few)
            with joblib.parallel_config(backend="loky"):
                result = scoring.explain_rows(few, n_jobs=-1)
            assert result.values.tobytes() == expected.values.tobytes()
            assert (result.standard_errors is None) == (expected.standard_errors is None)


def test_a_bar_is_shown_only_when_asked_for_and_only_on_a_terminal(
    breast_cancer, capsys, monkeypatch
):
    """Nothing by default and nothing in a pipe; a bar on a terminal, here without the delay that
    short work gets.
    """
    breast_cancer.scoring.explain_rows(breast_cancer.rows, show_progress=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(
        progress, "tqdm", lambda parts, **options: tqdm(parts, **{**options, "delay": 0})
    )
    breast_cancer.scoring.explain_rows(breast_cancer.rows)
    assert capsys.readouterr().err == ""
    breast_cancer.scoring.explain_rows(breast_cancer.rows, show_progress=True)
    assert "Explaining" in capsys.readouterr().err


def test_a_build_names_its_steps_on_a_terminal_and_only_there(breast_cancer, capsys, monkeypatch):
    """Each step in its turn; nothing in a pipe."""
    TabularExplainer(breast_cancer.model, breast_cancer.x_train)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    TabularExplainer(breast_cancer.model, breast_cancer.x_train)
    shown = capsys.readouterr().err
    steps = ["the model's structure", "whether the engine reproduces", "how far its background"]
    assert sorted(steps, key=shown.index) == steps
    TabularExplainer(breast_cancer.model, breast_cancer.x_train[:50], engine="kernel")
    assert "a surrogate for it" in capsys.readouterr().err


def test_saving_says_what_it_does_on_a_terminal_and_only_there(
    breast_cancer, tmp_path, capsys, monkeypatch
):
    """It explains examples, which takes long where the model is slow."""
    save(breast_cancer.scoring, tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    save(breast_cancer.scoring, tmp_path / "shown")
    assert "Saving the scoring explainer: explaining examples" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:The importances of engine:UserWarning")
def test_the_original_shap_explainer_stays_reachable(diabetes):
    """engine="shap" is shap.KernelExplainer; where it enumerates it agrees with our own on the same
    background.
    """
    options = {"background": "kmeans"}
    original = KernelScoringExplainer(
        TabularExplainer(diabetes.model, diabetes.x_train, engine="shap", **options)
    )
    ours = KernelScoringExplainer(
        TabularExplainer(diabetes.model, diabetes.x_train, engine="kernel", **options)
    )
    assert (original.method, ours.method) == ("shap", "kernel")
    theirs = original.explain_rows(diabetes.rows[:1])
    assert theirs.standard_errors is None
    np.testing.assert_allclose(
        theirs.values, ours.explain_rows(diabetes.rows[:1]).values, rtol=0, atol=1e-6
    )
    assert original.expected_values == pytest.approx(ours.expected_values)


def test_the_number_of_blas_threads_changes_no_byte(breast_cancer, tmp_path):
    """One saved explainer in two processes, with one and with two BLAS threads; afterwards the
    setting is as before.
    """
    path = save(breast_cancer.scoring, tmp_path / "model")
    rows = tmp_path / "rows.json"
    rows.write_text(breast_cancer.rows.to_json())
    script = (
        "import hashlib, threadpoolctl\n"
        "from service.scoring import load\n"
        f"explainer = load({str(path)!r})\n"
        f"result = explainer.explain_rows(explainer.read_rows(open({str(rows)!r}).read()))\n"
        "pools = threadpoolctl.threadpool_info()\n"
        "threads = {pool['num_threads'] for pool in pools if pool['user_api'] == 'blas'}\n"
        "print(hashlib.sha256(result.values.tobytes()).hexdigest(), threads)\n"
    )
    answers = {
        n: subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n},
        ).stdout.split(" ", 1)
        for n in ("1", "2")
    }
    assert answers["1"][0] == answers["2"][0]
    assert answers["1"][1] == "{1}\n"
    assert answers["2"][1] in (
        "{2}\n",
        "{1}\n",
    )  # a machine of one core has no second thread to give


def test_columns_of_several_levels_are_called_by_the_text_of_their_labels(tmp_path):
    """A MultiIndex, with a column of text; what pandas writes as JSON is served after loading."""
    numbers = np.random.default_rng(0).normal(size=(30, 2))
    labels = pd.MultiIndex.from_tuples([("size", "mean"), ("size", "worst"), ("town", "")])
    frame = pd.DataFrame(numbers, columns=labels[:2])
    frame[("town", "")] = np.array(["Ghent", "Oslo"])[np.arange(30) % 2]
    encode = make_column_transformer((OneHotEncoder(), [2]), remainder="passthrough")
    model = make_pipeline(encode, Ridge(1e-12)).fit(frame, numbers[:, 0])
    explainer = TabularExplainer(model, frame)
    assert explainer.features == ["('size', 'mean')", "('size', 'worst')", "('town', '')"]
    save(KernelScoringExplainer(explainer), tmp_path / "model", original_model=model)
    served = ScoringModel.load(tmp_path / "model")
    served.self_check()
    answer = served.score(frame[:3].to_json())
    np.testing.assert_allclose(answer["predictions"], numbers[:3, 0], rtol=0, atol=1e-9)
    assert np.shape(answer["local_importance_values"]) == (3, 3)
