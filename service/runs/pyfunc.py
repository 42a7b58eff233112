"""A registered version as a model of MLflow's, for ``mlflow.pyfunc.load_model`` and its server.

MLflow calls :func:`_load_pyfunc` by this module's name, with the folder ``model/`` of a version.

Next: :mod:`service.runs.versions`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np

from service.errors import ArtifactError
from service.scoring import KernelScoringExplainer, ScoringModel, ScoringRequest
from service.scoring.artifact import ARTIFACT_NAME, ORIGINAL_NAME, load
from service.scoring.manifest import MARK


class PyfuncModel:
    """Predictions of a registered model and, by `params`, the reasons for them.

    Parameters
    ----------
    scoring_model : ScoringModel or None
        Where the original model and its scoring explainer were registered.
    explainer : KernelScoringExplainer or None
        Where a scoring explainer was registered alone.
    model : object or None
        Where a model was registered alone.
    """

    def __init__(
        self,
        scoring_model: ScoringModel | None = None,
        explainer: KernelScoringExplainer | None = None,
        model: Any = None,
    ) -> None:
        self.scoring_model, self.explainer, self.model = scoring_model, explainer, model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Answer rows.

        Parameters
        ----------
        model_input : table
        params : dict, optional
            ``explain``: whether to say why, False by default; ``top_k``: so many of each row's
            largest importances by name, 0 for none.

        Returns
        -------
        ndarray or dict
            Predictions; with ``explain`` what the service answers: ``predictions``,
            ``local_importance_values`` and, with ``top_k``, ``top_importances``.

        Raises
        ------
        PayloadError
            When rows do not fit; the message tells no values of other rows.
        ArtifactError
            When what is asked for needs a part that was not registered.
        """
        wanted = params or {}
        if self.scoring_model is not None:
            return _answer(self.scoring_model, model_input, wanted)
        if self.explainer is not None:
            _expect(bool(wanted.get("explain")), 'params={"explain": True}', ORIGINAL_NAME)
            importances = self.explainer.explain_rows(model_input)
            return {"local_importance_values": importances.to_lists()}
        _expect(not wanted.get("explain"), "explain=False", ARTIFACT_NAME)
        return self.model.predict(model_input)


def _expect(fits: bool, expected: str, missing: str) -> None:
    if not fits:
        raise ArtifactError(
            f"This version was registered without {missing}: expected {expected}, or a folder with "
            "both, as service.scoring.save(..., original_model=model) writes it."
        )


def _answer(scoring_model: ScoringModel, model_input: Any, params: dict[str, Any]) -> Any:
    explain, top_k = bool(params.get("explain")), int(params.get("top_k") or 0)
    request = ScoringRequest(explain=explain, top_k=(top_k or None) if explain else None)
    rows = scoring_model.schema.matrix(model_input)
    answer = scoring_model.predict_and_explain(rows, request)
    return dict(answer) if explain else np.asarray(answer["predictions"])


def _load_pyfunc(path: str) -> PyfuncModel:
    """Load what was registered, digests first; MLflow calls it."""
    folder = Path(path)
    if (folder / ORIGINAL_NAME).is_file() and (folder / ARTIFACT_NAME).is_file():
        return PyfuncModel(scoring_model=ScoringModel.load(folder))
    files = [file for file in sorted(folder.rglob("*")) if file.suffix in (".pkl", ".joblib")]
    if len(files) != 1:
        raise ArtifactError(
            f"{folder}: expected {ORIGINAL_NAME} with {ARTIFACT_NAME}, or one pickle alone, found "
            f"{len(files)} pickles; download the version's files instead."
        )
    if _is_explainer(files[0]):
        return PyfuncModel(explainer=load(files[0]))
    return PyfuncModel(model=joblib.load(files[0]))


def _is_explainer(file: Path) -> bool:
    """Tell whether a file has the manifest of a scoring explainer behind its last byte."""
    return file.read_bytes()[-len(MARK) :] == MARK
