"""Explanations of a run: uploaded wholly or not at all, listed, and downloaded in part.

The files come first and the run's tag last, in one transaction: what has no tag is not there.

Next: :mod:`service.runs.submission`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd

from service.errors import DigestError
from service.explanations import GlobalExplanation, LocalExplanation, top
from service.explanations.context import ExplanationContext, count_rows, tell_nothing, unless_none
from service.explanations.files.content import write_explanation
from service.explanations.files.saving import read_files
from service.explanations.files.storage import HEADING, Content, Files, Writer, digest
from service.explanations.ranks import check_count
from service.runs.artifacts import Artifacts
from service.runs.embedded import remove_abandoned
from service.runs.failures import ExplanationNotFoundError
from service.runs.model import Model
from service.runs.names import RESERVED_FOLDER, check_comment
from service.runs.run import Run
from service.runs.summaries import (
    MARK,
    PREFIX,
    named_features,
    newest_of,
    read_summaries,
    to_tags,
)
from service.runs.workspace import Workspace

BEING_UPLOADED = 3_600  # seconds for which files without a tag may belong to somebody
OF_MLFLOW = "model_explanations_shap"  # where mlflow.shap puts its arrays


class ExplanationClient:
    """Uploads explanations to a run, and lists and downloads those that it has.

    Parameters
    ----------
    run : Run
    preferred : str, optional
        The id of the explanation that is downloaded when nothing is asked for; by default the
        newest.

    Examples
    --------
    >>> local = LocalExplanation.from_values([[1.0, -2.0]], expected_values=5.0)
    >>> with Run.get_context() as run:
    ...     client = ExplanationClient.from_run(run)
    ...     upload = client.upload_model_explanation(local, comment="first")
    >>> cut = client.download_model_explanation(comment="first", top_k=1)
    >>> cut.features, cut.local_importance_values, cut.other
    (['1'], [[-2.0]], [1.0])
    """

    def __init__(self, run: Run, preferred: str = "") -> None:
        self.run, self._preferred = run, preferred

    @classmethod
    def from_run(cls, run: Run) -> ExplanationClient:
        """Return the client of a run."""
        return cls(run)

    @classmethod
    def from_run_id(
        cls, workspace: Workspace, experiment_name: str | None, run_id: str
    ) -> ExplanationClient:
        """Return the client of a run by its id, which alone says which it is."""
        return cls(Run(workspace, run_id))

    @classmethod
    def from_model(cls, model: Model) -> ExplanationClient:
        """Return the client of the run that registered a model, for the explanation of that model.

        It is the newest with the model's id as its ``model_id``, else the one that the run had when
        the model was registered, else the newest that names no model. One that names another model
        is never taken for it.
        """
        run = Run(model.workspace, model.run_id)
        summaries = read_summaries(run.tags)
        own, unnamed = newest_of(summaries, (model.id,)), newest_of(summaries, ("",))
        known = (own, model.explanation, unnamed, f"one of {model.id}")
        return cls(run, next(filter(None, known)))

    @classmethod
    def from_mlflow_shap(
        cls,
        run: Run,
        *,
        features: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        axes: Sequence[str] | None = None,
        output: str = "prediction",
        folder: str = OF_MLFLOW,
    ) -> ExplanationClient:
        """Upload what ``mlflow.shap.log_explanation`` left in a run, and return the run's client.

        It becomes a global explanation with `folder` as its comment; where that is there already,
        nothing is uploaded.

        Parameters
        ----------
        run : Run
        features, classes, axes, output
            As :meth:`service.explanations.LocalExplanation.from_values` takes them: MLflow keeps
            arrays alone.
        folder : str, default "model_explanations_shap"
            Where in the run.

        Raises
        ------
        NotInStoreError
            When the run has no such files.
        ValueError
            When the counts do not fit, or the order of the axes cannot be told.
        """
        client = cls(run)
        if not client.list_model_explanations(comment=folder):
            with run.artifacts() as artifacts:
                values = np.load(artifacts.open(f"{folder}/shap_values.npy"))
                expected = np.load(artifacts.open(f"{folder}/base_values.npy"))
            explanation = GlobalExplanation.from_values(
                values,
                features=features,
                classes=classes,
                expected_values=expected.squeeze().tolist(),
                axes=axes,
                output=output,
            )
            client.upload_model_explanation(explanation, comment=folder)
        return client

    def upload_model_explanation(
        self,
        explanation: LocalExplanation,
        *,
        comment: str | None = "",
        top_k: int | None = None,
        model_id: str | None = "",
        raw: bool | None = None,
        engineered: bool | None = None,
        eval_data: Any = None,
        true_ys: Any = None,
        ys_pred: Any = None,
        ys_pred_proba: Any = None,
        row_ids: Any = None,
    ) -> str:
        """Upload an explanation, wholly or not at all.

        Parameters
        ----------
        explanation : LocalExplanation or GlobalExplanation
        comment : str, optional
            At most 1,000 characters, by which it is found.
        top_k : int, optional
            Upload only the most important features; see :func:`service.explanations.top`.
        model_id : str, optional
            Which model it explains, as ``breast_cancer:3``. Where the run has registered that
            version, it is told, so that its deployments tell of the explanation too.
        raw, engineered : bool, optional
            What it is marked as; by default what it says of itself.
        eval_data : table, optional
            The rows that were explained. Neither they nor labels and predictions are uploaded
            unless given here.
        true_ys, ys_pred, ys_pred_proba : array-like, optional
            Labels, predictions and probabilities of the rows.
        row_ids : sequence, optional
            What the rows are called.

        Returns
        -------
        str
            The id of the upload.

        Raises
        ------
        TypeError
            When it is no explanation.
        ValueError
            When an importance is NaN or infinite, a table has no plain form or other rows, a text
            is too long, or a class or feature is called by neither a text nor a number.
        """
        if not isinstance(explanation, LocalExplanation):
            raise TypeError(
                "upload_model_explanation: expected a LocalExplanation or GlobalExplanation, got "
                f"{type(explanation).__name__}; explain_global and explain_local make them."
            )
        known = {"comment": check_comment(comment), "model_id": str(model_id or ""), "top_k": top_k}
        cut = top(explanation, explanation.num_features if top_k is None else top_k)
        _check_rows(
            len(cut),
            eval_data=eval_data,
            true_ys=true_ys,
            ys_pred=ys_pred,
            ys_pred_proba=ys_pred_proba,
            row_ids=row_ids,
        )
        context = _without_data(cut.context)
        context = replace(
            context,
            eval_data=eval_data,
            true_labels=true_ys,
            eval_y_predicted=ys_pred,
            eval_y_predicted_proba=ys_pred_proba,
        )
        said = {"is_raw": raw, "is_engineered": engineered}
        said["row_labels"] = unless_none(pd.Index, row_ids)
        context = replace(context, **_without_none(said))
        return self._upload(replace(cut, context=context), known)

    def _upload(self, explanation: LocalExplanation, known: Mapping[str, Any]) -> str:
        upload = str(uuid4())
        with self.run.artifacts() as artifacts:
            put = _Upload(artifacts, f"{RESERVED_FOLDER}/{upload}")
            try:
                write_explanation(explanation, Writer(put), include_data=True)
                tags = to_tags({**put.summarize(), **known, "id": upload})
                self.run.workspace.engine.log_tags(self.run.id, tags)
            except BaseException:
                artifacts.remove(put.folder)
                raise
        self._tell_version(known["model_id"], upload)
        return upload

    def _tell_version(self, model_id: str, upload: str) -> None:
        """Let a version that was registered before say what explains it, as its deployments do."""
        if not model_id:
            return
        engine = self.run.workspace.engine
        for found in engine.pages(
            "search_model_versions", filter_string=f"run_id = '{self.run.id}'"
        ):
            if f"{found.name}:{found.version}" == model_id:
                engine.ask(
                    "set_model_version_tag", found.name, found.version, "explanation", upload
                )

    def list_model_explanations(
        self,
        comment: str | None = None,
        raw: bool | None = None,
        engineered: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Return what is known of each explanation of the run, the oldest first.

        Parameters
        ----------
        comment : str, optional
            Of those with this comment.
        raw, engineered : bool, optional
            Of those that are, or are not.

        Returns
        -------
        list of dict
            ``id``, ``comment``, ``uploaded``, ``kind``, ``method``, ``raw``, ``engineered``,
            ``n_rows``, ``n_features``, ``model_id`` and the most important ``features`` with their
            global values, among others.
        """
        wanted = {"comment": comment, "raw": raw, "engineered": engineered}
        known = _without_none(wanted).items()
        summaries = read_summaries(self.run.tags)
        return [summary for summary in summaries if known <= _plain(summary).items()]

    def download_model_explanation(
        self,
        explanation_id: str | None = None,
        top_k: int | None = None,
        comment: str | None = None,
        raw: bool | None = None,
        engineered: bool | None = None,
    ) -> Any:
        """Download an explanation: the newest, or the newest that fits what is asked for.

        Parameters
        ----------
        explanation_id : str, optional
            The id of an upload, or that of an explanation.
        top_k : int, optional
            Only the most important features; of a large one nothing else is fetched. It is
            :func:`service.explanations.top` of what was uploaded, bit for bit.
        comment, raw, engineered
            As in :meth:`list_model_explanations`.

        Returns
        -------
        LocalExplanation or GlobalExplanation

        Raises
        ------
        ExplanationNotFoundError
            When there is none; says which there are.
        DigestError
            When a file is not the one that was uploaded.
        ValueError
            When `top_k` is not positive.
        """
        unless_none(check_count, top_k)
        found = self.list_model_explanations(comment, raw, engineered)
        is_asked = (comment, raw, engineered) != (None, None, None)
        is_open = explanation_id is None and (is_asked or not self._preferred)
        summary = self._pick(found, explanation_id or self._preferred, found * is_open)
        folder = f"{RESERVED_FOLDER}/{summary['id']}"
        with self.run.artifacts() as artifacts:
            heading = artifacts.open(f"{folder}/{HEADING}").read_bytes()
            if digest(heading) != summary["heading"]:
                raise DigestError(
                    f"{folder}/{HEADING}: its SHA-256 is not the one in the run's tag; it was "
                    "changed in the store. Upload the explanation again."
                )
            return read_files(_files_of(artifacts, folder), folder, top_k)

    def _pick(
        self, found: list[dict[str, Any]], wanted: str, others: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the newest of a name among some explanations, else of the others."""
        named = _called(found, wanted) or others
        if not named:
            raise self._not_there(wanted or "one that fits what was asked for")
        return named[-1]

    def _not_there(self, asked: str) -> ExplanationNotFoundError:
        told = list(map("{id} ({comment:.60})".format_map, read_summaries(self.run.tags)[-10:]))
        return ExplanationNotFoundError(
            f"Run {self.run.id}: expected one of its explanations ({'; '.join(told) or 'none'}), "
            f"got {asked}."
        )

    def delete_model_explanation(self, explanation_id: str) -> None:
        """Delete an explanation, the tag first.

        Raises
        ------
        ExplanationNotFoundError
            When there is none; says which there are.
        """
        there = self.list_model_explanations()
        summary = self._pick(there, str(explanation_id), [])
        engine = self.run.workspace.engine
        engine.ask("delete_tag", self.run.id, f"{PREFIX}{summary['id']}")
        if len(there) == 1:
            engine.log_tags(self.run.id, {MARK: "False"})
        with self.run.artifacts() as artifacts:
            artifacts.remove(f"{RESERVED_FOLDER}/{summary['id']}")

    def prune(self, seconds: float = BEING_UPLOADED) -> list[str]:
        """Remove files of explanations that were never uploaded to their end; return their ids.

        Parameters
        ----------
        seconds : float, default 3600
            Only what nobody has written to for so long; behind a server no times are known, and
            only 0 removes anything.
        """
        with self.run.artifacts() as artifacts:
            places = self._orphans(artifacts)
            old = [one for one in places if artifacts.is_older(places[one], seconds)]
            deque(map(artifacts.remove, map(places.__getitem__, old)), maxlen=0)
        folder = self.run.workspace.engine.folder
        if folder is not None:
            remove_abandoned(folder, seconds)
        return old

    def _orphans(self, artifacts: Artifacts) -> dict[str, str]:
        """Return the folders of explanations that have no tag, by their ids."""
        there = {summary["id"] for summary in read_summaries(self.run.tags)}
        orphans = sorted({*artifacts.list_folders(RESERVED_FOLDER)} - there)
        return dict(zip(orphans, map(f"{RESERVED_FOLDER}/{{}}".format, orphans), strict=True))


def _without_none(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given of some arguments."""
    return {name: value for name, value in named.items() if value is not None}


def _called(found: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return those of some explanations that have an id, as an upload or of their own."""
    return [one for one in found if name in (one["id"], one["explanation"])]


class _Upload:
    """Puts the files of one explanation into a folder, and keeps what is said of them.

    Parameters
    ----------
    artifacts : Artifacts
    folder : str
    """

    def __init__(self, artifacts: Artifacts, folder: str) -> None:
        self.artifacts, self.folder = artifacts, folder
        self.heading = b""
        self.n_bytes = 0

    def __call__(self, name: str, content: Content) -> None:
        self.artifacts.put(f"{self.folder}/{name}", content)
        self.n_bytes += len(content)
        if name == HEADING:
            self.heading = bytes(content)

    def summarize(self) -> dict[str, Any]:
        """Return what a list of explanations says of this one."""
        heading = json.loads(self.heading)
        values = heading.get("global_importance_values")
        n_features = heading["n_features"]
        order = (heading["local"] or {}).get("order", list(range(n_features)))
        if values is not None:
            order = sorted(range(n_features), key=lambda i: -values[i])
        return {
            **{name: heading[name] for name in ("kind", "method", "output", "task", "n_rows")},
            "raw": heading["raw"],
            "engineered": heading["engineered"],
            "explanation": heading["id"],
            "uploaded": datetime.now(UTC).isoformat(timespec="microseconds"),
            "n_features": heading["n_explained"] or n_features,
            "n_classes": unless_none(len, heading["classes"]),
            "bytes": self.n_bytes,
            "heading": digest(self.heading),
            "features": named_features(heading["features"], values, order),
        }


def _check_rows(n_rows: int, **given: Any) -> None:
    """Check that what is given beside an explanation is of as many rows, before it is uploaded."""
    for name, values in given.items():
        found = n_rows if values is None else count_rows(values)
        if found != n_rows:
            raise ValueError(
                f"upload_model_explanation: expected {name} of {n_rows} rows, as were explained, "
                f"got {found}."
            )


def _without_data(context: ExplanationContext) -> ExplanationContext:
    """Return what is known beside importances, without rows, labels and predictions."""
    engineered = unless_none(_explained_without_data, context.engineered)
    return replace(
        context,
        ask=tell_nothing,
        engineered=engineered,
        init_data=None,
        eval_data=None,
        true_labels=None,
        eval_y_predicted=None,
        eval_y_predicted_proba=None,
    )


def _explained_without_data(explanation: LocalExplanation) -> LocalExplanation:
    return replace(explanation, context=_without_data(explanation.context))


def _plain(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that a list is asked by."""
    return {name: summary[name] for name in ("comment", "raw", "engineered")}


def _files_of(artifacts: Artifacts, folder: str) -> Files:
    return Files(
        lambda name: artifacts.open(f"{folder}/{name}").read_bytes(),
        lambda name: artifacts.open(f"{folder}/{name}").stat().st_size,
    )
