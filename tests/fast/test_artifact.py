import hashlib
import importlib
import io
import json
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.explainers import TabularExplainer
from service.scoring import (
    ArtifactError,
    DigestError,
    KernelScoringExplainer,
    ManifestError,
    ScoringModel,
    VersionError,
    load,
    save,
    stored_form,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def saved(diabetes, tmp_path):
    return save(diabetes.scoring, tmp_path / "artifact")


def edit(manifest, **changes):
    content = json.loads(manifest.read_text())
    content.update(changes)
    manifest.write_text(json.dumps(content))


def test_save_writes_the_file_and_a_readable_manifest(saved, diabetes):
    """The manifest tells digest, versions, schema, method, background and scale without loading
    anything.
    """
    assert saved.name == "scoring_explainer.pkl"
    manifest = json.loads(saved.with_suffix(".json").read_text())
    assert manifest["sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert manifest["libraries"]["numpy"] == np.__version__
    assert (manifest["method"], manifest["output"], manifest["classes"]) == (
        "product",
        "prediction",
        None,
    )
    assert manifest["background"] == {
        "kind": "whole",
        "n_rows": 353,
        "n_examples": 353,
        "relative_error": 0.0,
    }
    assert [column["name"] for column in manifest["columns"]] == diabetes.scoring.features
    assert {column["kind"] for column in manifest["columns"]} == {"number"}


def test_the_manifest_says_how_large_the_sampling_error_is(breast_cancer, diabetes):
    """A share of the mean importance where values are sampled, as on the result; nothing from exact
    engines.
    """
    assert diabetes.scoring.to_dict()["relative_standard_error"] is None
    said = breast_cancer.scoring.to_dict()["relative_standard_error"]
    result = breast_cancer.scoring.explain_rows(breast_cancer.x_train[:8])
    seen = result.standard_errors.mean() / np.abs(result.values).mean()
    assert 0.4 * seen < said < 2.5 * seen


def test_a_fresh_process_with_only_scoring_gives_the_same_numbers(
    diabetes, breast_cancer, tmp_path
):
    """Of rows as JSON and of records, without the models that the explainers were made from.

    An exact one, a sampled one and one of a logistic pipeline. service.explainers and service.web
    cannot be imported there, and none of the heavy libraries gets loaded.
    """
    examples = breast_cancer.x_train
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(examples, np.arange(len(examples)) % 2)
    of_pipeline = TabularExplainer(pipeline, examples, output="probability")
    explainers = {
        "exact": (diabetes.scoring, diabetes.rows),
        "sampled": (breast_cancer.scoring, breast_cancer.rows[:1]),
        "logistic": (KernelScoringExplainer(of_pipeline), breast_cancer.rows[:1]),
    }
    for name, (scoring, rows) in explainers.items():
        save(scoring, tmp_path / name)
        (tmp_path / name / "rows.json").write_text(rows.to_json())
        (tmp_path / name / "records.json").write_text(json.dumps(rows.to_dict("records")))
    script = (
        "import json, sys\n"
        "sys.modules['service.explainers'] = sys.modules['service.web'] = None\n"
        "from service.scoring import load\n"
        "for folder in sys.argv[1:]:\n"
        "    explainer = load(folder)\n"
        "    rows = explainer.read_rows(open(folder + '/rows.json').read())\n"
        "    records = json.load(open(folder + '/records.json'))\n"
        "    print(json.dumps([explainer.explain(rows), explainer.explain(records)]))\n"
        "loaded = {'shap', 'numba', 'matplotlib', 'flask'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    folders = [str(tmp_path / name) for name in explainers]
    done = subprocess.run(
        [sys.executable, "-c", script, *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = map(json.loads, done.stdout.splitlines())
    for (scoring, rows), found in zip(explainers.values(), answers, strict=True):
        assert found == [scoring.explain(rows), scoring.explain(rows.to_dict("records"))]


def test_it_is_loaded_by_directory_or_by_file_under_any_name(saved, diabetes):
    """Registries rename files; the manifest is found beside them, renamed too or not."""
    expected = diabetes.scoring.explain(diabetes.rows)
    renamed = saved.rename(saved.with_name("model-3.bin"))
    assert load(renamed).explain(diabetes.rows) == expected
    renamed.with_name("scoring_explainer.json").rename(renamed.with_suffix(".json"))
    assert load(str(renamed)).explain(diabetes.rows) == expected
    renamed.rename(saved)
    renamed.with_suffix(".json").rename(saved.with_suffix(".json"))
    assert load(saved.parent).explain(diabetes.rows) == expected


def test_an_existing_directory_is_refused_unless_it_may_exist(saved, diabetes):
    """Nothing is overwritten by accident; exist_ok replaces the explainer."""
    with pytest.raises(FileExistsError, match="pass exist_ok=True"):
        save(diabetes.scoring, saved.parent)
    assert save(diabetes.scoring, saved.parent, exist_ok=True) == saved
    assert sorted(path.name for path in saved.parent.iterdir()) == [
        "scoring_explainer.json",
        "scoring_explainer.pkl",
    ]


def test_a_flipped_byte_is_found_before_anything_is_unpickled(saved, monkeypatch):
    """The digest is checked first."""
    monkeypatch.setattr(joblib, "load", lambda _: pytest.fail("unpickled"))
    content = bytearray(saved.read_bytes())
    content[100] ^= 1
    saved.write_bytes(content)
    with pytest.raises(DigestError, match="its SHA-256 is not the one in its manifest"):
        load(saved)


def test_a_directory_without_a_manifest_or_with_a_broken_one_is_refused(saved):
    """One sentence each."""
    manifest = saved.with_suffix(".json")
    text = manifest.read_text()
    for broken, reason in [
        ("{", "expected a JSON manifest"),
        ("[]", "format 6"),
        ('{"format": 99}', "format 6"),
        ('{"format": 6, "libraries": null}', "expected the library versions under 'libraries'"),
    ]:
        manifest.write_text(broken)
        with pytest.raises(ManifestError, match=reason):
            load(saved.parent)
    manifest.unlink()
    content = saved.read_bytes()  # which has it behind the pickle
    assert load(saved.parent).method == "product"
    saved.write_bytes(content[:-1])
    with pytest.raises(ManifestError, match=r"expected its manifest .* beside it, found none"):
        load(saved.parent)
    saved.write_bytes(content)
    manifest.write_text(text)
    assert load(saved.parent).method == "product"


def test_another_library_version_is_refused_unless_it_is_accepted(saved):
    """The sentence names the library, the recorded version and the one here."""
    libraries = json.loads(saved.with_suffix(".json").read_text())["libraries"]
    edit(saved.with_suffix(".json"), libraries={**libraries, "scikit-learn": "0.24.1"})
    with pytest.raises(VersionError, match=r"saved with scikit-learn 0.24.1 \(here \d"):
        load(saved)
    assert load(saved, check_versions=False).method == "product"
    edit(saved.with_suffix(".json"), libraries={**libraries, "no-such-library": "1.0"})
    with pytest.raises(VersionError, match=r"no-such-library 1.0 \(not installed here\)"):
        load(saved)


def test_library_versions_are_compared_before_the_original_model_is_unpickled(
    diabetes, tmp_path, monkeypatch
):
    """With other versions, loading it may fail in ways that say nothing: the sentence comes
    first.
    """
    saved = save(diabetes.scoring, tmp_path / "models", original_model=diabetes.model)
    libraries = json.loads(saved.with_suffix(".json").read_text())["libraries"]
    edit(saved.with_suffix(".json"), libraries={**libraries, "scikit-learn": "0.24.1"})
    monkeypatch.setattr(joblib, "load", lambda _: pytest.fail("unpickled"))
    with pytest.raises(
        VersionError, match=r"original_model.pkl: saved with scikit-learn 0.24.1 \(here \d"
    ):
        ScoringModel.load(saved.parent)


def test_what_is_no_scoring_explainer_is_refused(saved, tmp_path):
    """Nothing at the path, or another object in the file."""
    with pytest.raises(ArtifactError, match="expected a saved scoring explainer, found none"):
        load(tmp_path / "nowhere")
    joblib.dump({"not": "an explainer"}, saved)
    edit(saved.with_suffix(".json"), sha256=hashlib.sha256(saved.read_bytes()).hexdigest())
    with pytest.raises(ArtifactError, match="expected a KernelScoringExplainer, got dict"):
        load(saved)


def test_what_another_version_of_the_service_saved_is_refused(saved, monkeypatch):
    """In one sentence that says what to do, where a part of it is no longer known."""
    known = {kind: place for kind, place in stored_form.KINDS.items() if kind != "Schema"}
    monkeypatch.setattr(stored_form, "KINDS", known)
    with pytest.raises(ArtifactError, match=r"knows no 'Schema'.*save it with this version"):
        load(saved)


def test_what_cannot_be_saved_there_is_refused(diabetes, tmp_path):
    """A full explainer, or a file in the place of the directory: one sentence each, and nothing is
    written.
    """
    with pytest.raises(
        TypeError, match=r"save: expected a KernelScoringExplainer, got TabularExplainer; make one"
    ):
        save(diabetes.explainer, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        NotADirectoryError, match=r"save: expected a directory, but .*file is a file"
    ):
        save(diabetes.scoring, tmp_path / "file", exist_ok=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_missing_module_of_the_model_is_named(tmp_path, monkeypatch):
    """Where the user's own module is not on the path, loading says so in one sentence."""
    (tmp_path / "my_model.py").write_text("def score(x):\n    return x[:, 0]\n")
    with monkeypatch.context() as notebook:
        notebook.syspath_prepend(tmp_path)
        score = importlib.import_module("my_model").score
        save(KernelScoringExplainer(TabularExplainer(score, np.eye(3))), tmp_path / "saved")
    del sys.modules["my_model"]
    with pytest.raises(
        ArtifactError, match=r"cannot be loaded here \(No module named 'my_model'\)"
    ):
        load(tmp_path / "saved")


def test_a_model_that_is_not_called_is_not_carried_along(tmp_path):
    """A forest's explainer loads and explains without the forest, and still tells its name and its
    labels.
    """
    X, y = make_classification(200, 5, random_state=0)
    explainer = TabularExplainer(RandomForestClassifier(5, random_state=0).fit(X, y), X)
    scoring = load(save(KernelScoringExplainer(explainer), tmp_path / "forest"))
    assert modules_in(scoring) & {"service.scoring.stored_form", "sklearn.ensemble._forest"} == {
        "service.scoring.stored_form"
    }
    assert scoring.explain(X[:3]) == explainer.explain_local(X[:3]).local_importance_values
    described = scoring.to_dict()
    assert described["model"] == "sklearn.ensemble._forest.RandomForestClassifier"
    assert described["labels"] == [0, 1]
    sampled = KernelScoringExplainer(
        TabularExplainer(explainer.row_explainer.function.model, X, engine="kernel")
    )
    assert "sklearn.ensemble._forest" in modules_in(sampled)


def modules_in(scoring):
    """Which modules a pickle of it imports from."""

    class Recorder(pickle.Unpickler):
        def find_class(self, module, name):
            modules.add(module)
            return super().find_class(module, name)

    modules = set()
    Recorder(io.BytesIO(pickle.dumps(scoring))).load()
    return modules


def test_a_model_that_cannot_be_pickled_says_so_and_leaves_nothing(tmp_path):
    """A lambda has no importable name."""
    scoring = KernelScoringExplainer(TabularExplainer(lambda x: x[:, 0], np.eye(3)))
    with pytest.raises(ArtifactError, match="cannot be pickled"):
        save(scoring, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_plain_function_is_saved_and_served(tmp_path):
    """Beside its scoring explainer, as an estimator would be; its answers are the predictions."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    row_sums = partial(np.sum, axis=1)
    scoring = KernelScoringExplainer(TabularExplainer(row_sums, rows))
    save(scoring, tmp_path / "function", original_model=row_sums)
    model = ScoringModel.load(tmp_path / "function")
    model.self_check()
    answer = model.score(json.dumps(rows[:2].tolist()))
    np.testing.assert_allclose(answer["predictions"], rows[:2].sum(axis=1), rtol=0, atol=1e-12)
    with pytest.raises(TypeError, match="expected an estimator with predict, or a function"):
        save(scoring, tmp_path / "other", original_model=3.0)
    assert not (tmp_path / "other").exists()


LOADING = """
import resource, sys
import sklearn.linear_model
from service.scoring import load_original_model

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = load_original_model(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_loading_takes_no_more_memory_than_having_loaded(tmp_path):
    """The file's bytes are not kept beside what is made of them."""
    rows = np.random.default_rng(0).normal(size=(4_000_000, 2))
    model = LinearRegression().fit(rows[:50], rows[:50, 0])
    model.training_rows_ = rows
    save(
        KernelScoringExplainer(TabularExplainer(model, rows[:5])),
        tmp_path,
        exist_ok=True,
        original_model=model,
    )
    command = [sys.executable, "-c", LOADING, str(tmp_path)]
    kilobytes = subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout
    size = (tmp_path / "original_model.pkl").stat().st_size
    assert size > 60e6
    assert int(kilobytes) * 1024 < 1.3 * size
