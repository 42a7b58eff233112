"""A model behind transformations, served: raw rows in, raw importances out."""

import pandas as pd
import pytest
from raw_spellings import FRAME, TARGET, one_hot
from serving import serving
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from service.batch import score_file
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel, save


@pytest.fixture(scope="module")
def explainer():
    transformer = one_hot().fit(FRAME)
    model = Ridge().fit(transformer.transform(FRAME), TARGET)
    return TabularExplainer(model, FRAME, transformations=transformer)


@pytest.fixture(scope="module")
def folder(explainer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    transformed = explainer.model
    whole = make_pipeline(transformed.steps[0][1], transformed.model)
    scoring = KernelScoringExplainer(explainer, engineered=True)
    save(scoring, folder, exist_ok=True, original_model=whole)
    return folder


def test_raw_rows_are_scored_as_they_are_explained(explainer, folder, tmp_path):
    """By the service and in files; OpenAPI shows raw columns, and engineered rows are refused."""
    rows = FRAME[:3]
    expected = explainer.explain_local(rows).local_importance_values
    with serving(tmp_path, AZUREML_MODEL_DIR=str(folder)) as service:
        answer = service.score(rows.to_json(double_precision=15)).json()
        assert answer["local_importance_values"] == expected
        document = service.ask("GET", "/swagger.json").body.decode()
        for name in FRAME.columns:
            assert f'"{name}"' in document
        assert "onehotencoder__town_Bern" not in document
        made = explainer.model.transform_rows(rows)
        assert service.score(str(made.tolist())).status == 400
    scoring_model = ScoringModel.load(folder)
    scoring_model.self_check()
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    score_file(scoring_model, tmp_path / "rows.parquet", tmp_path / "scored.parquet")
    scored = pd.read_parquet(tmp_path / "scored.parquet")
    of_files = scored[[f"importance:{name}" for name in FRAME.columns]]
    assert of_files.to_numpy().tolist() == expected
