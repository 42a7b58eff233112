"""What Prometheus is told, added up over all workers.

Where ``PROMETHEUS_MULTIPROC_DIR`` is set, as gunicorn does for the service, the workers write their
numbers into files of that folder and any of them answers for all.

Next: `service.server`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.model_origin import Origin
from service.scoring.answer import Answer, plain
from service.scoring.scoring_model import ScoringModel

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
MALFORMED = "unreadable"  # the route of requests that are no HTTP
SUM, COUNT, MEAN = "scoring_importance_sum", "scoring_rows_explained", "scoring_importance_mean"
IMPORTANCES = "local_importance_values"
DESCRIBED_BY = ("model_type", "method", "output")  # attributes of the scoring explainer
LABELS = ("model", "method", "output")  # their names as labels
REGISTERED = ("uri", "run", "explanation")  # of the registered models, where some were deployed


class Metrics:
    """The counters of one process; thread-safe.

    Parameters
    ----------
    model_name : str
        Its name in the routes.
    model : ScoringModel or None
        Names the features; without it there is nothing to say of them.
    folder : Path, optional
        The one in PROMETHEUS_MULTIPROC_DIR, where several workers add up their numbers; by default
        this process is alone.
    replica : Path, optional
        The Unix socket of this service among the replicas behind one port.
    origins : sequence of Origin
        The registered models that were deployed.

    Examples
    --------
    >>> metrics = Metrics("model", None)
    >>> metrics.request("/score", 200, seconds=0.01)
    >>> 'scoring_requests_total{code="200",route="/score"} 1.0' in metrics.text().decode()
    True
    """

    def __init__(
        self,
        model_name: str,
        model: ScoringModel | None,
        folder: Path | None = None,
        replica: Path | None = None,
        *,
        origins: Sequence[Origin] = (),
    ) -> None:
        self._folder, self.replica = folder, replica
        self._registry = CollectorRegistry()
        self._count_requests()
        self._count_rows()
        self._name_features(model)
        self._describe(model_name, model, origins)

    def _count_requests(self) -> None:
        registry = self._registry
        self._requests = Counter(
            "scoring_requests", "Requests", ["route", "code"], registry=registry
        )
        self._latency = Histogram(
            "scoring_request_seconds",
            "Time to answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._counted = cache(self._counters_of)  # there are few routes and statuses

    def _counters_of(self, route: str, code: int) -> tuple[Counter, Histogram]:
        return self._requests.labels(route, str(code)), self._latency.labels(route)

    def _count_rows(self) -> None:
        registry = self._registry
        self._explaining = Histogram(
            "scoring_explanation_seconds",
            "Time to explain the rows of a request",
            buckets=SECONDS,
            registry=registry,
        )
        self._rows = Histogram("scoring_rows", "Rows in a request", buckets=ROWS, registry=registry)
        self._explained = Counter(COUNT, "Rows explained", registry=registry)

    def _name_features(self, model: ScoringModel | None) -> None:
        importance = Counter(
            SUM,
            "Sum of |local importance| over rows, mean of the classes",
            ["feature"],
            registry=self._registry,
        )
        missing = Counter(
            "scoring_missing_values", "Missing values", ["feature"], registry=self._registry
        )
        new = Counter(
            "scoring_new_categories",
            "Categories that the examples did not have",
            ["feature"],
            registry=self._registry,
        )
        features = [] if model is None else model.scoring_explainer.features
        columns = [] if model is None else model.schema.names
        self._sums = [importance.labels(name) for name in features]
        self._gaps = [missing.labels(name) for name in columns]
        self._new = {name: new.labels(name) for name in columns}

    def _describe(
        self, model_name: str, model: ScoringModel | None, origins: Sequence[Origin]
    ) -> None:
        explainer = None if model is None else model.scoring_explainer
        about = {"name": model_name}
        for label, attribute in zip(LABELS, DESCRIBED_BY, strict=True):
            about[label] = getattr(explainer, attribute, "")
        if origins:
            about |= {label: ",".join(map(attrgetter(label), origins)) for label in REGISTERED}
        info = Gauge(
            "scoring_model_info",
            "The model, 1",
            list(about),
            registry=self._registry,
            multiprocess_mode="max",
        )
        info.labels(**about).set(1)

    def request(self, route: str, code: int, seconds: float) -> None:
        """Count a request that was answered."""
        requests, latency = self._counted(route, code)
        requests.inc()
        latency.observe(seconds)

    def malformed(self, code: int) -> None:
        """Count a request that was no HTTP, of which no time to answer is known."""
        self._requests.labels(MALFORMED, str(code)).inc()

    def scored(self, answer: Any) -> int | None:
        """Count the rows of a request: what drove their predictions, what was missing in them.

        Parameters
        ----------
        answer : Any
            What the entry script returned. Of an answer of its own the rows are counted where it
            is a list, or has a list of ``predictions``, and importances where it has
            ``local_importance_values`` of so many rows and of the model's features.

        Returns
        -------
        int or None
            The number of rows, None where nothing tells it.
        """
        if isinstance(answer, Answer):
            self._count_answer(answer)
            return len(answer.rows)
        told = answer if isinstance(answer, Mapping) else {"predictions": answer}
        n_rows = _number_of_rows(told.get("predictions"))
        if n_rows is not None:
            self._rows.observe(n_rows)
            shape = (n_rows, len(self._sums))
            self._count_importances(_as_importances(told.get(IMPORTANCES), shape))
        return n_rows

    def _count_answer(self, answer: Answer) -> None:
        self._rows.observe(len(answer.rows))
        missing = (answer.rows != answer.rows).sum(axis=0)  # only NaN differs from itself
        for column in np.flatnonzero(missing):
            self._gaps[column].inc(int(missing[column]))
        for name in chain.from_iterable(answer.new_categories):
            self._new[name].inc()
        if answer.importances is not None:
            self._explaining.observe(answer.seconds_explaining)
            self._count_importances(answer.importances.values)

    def _count_importances(self, importances: NDArray[np.float64] | None) -> None:
        if importances is None:
            return
        *_, n_rows, n_features = importances.shape
        by_class = np.abs(importances).reshape(-1, n_rows, n_features)
        per_feature = by_class.mean(axis=0).sum(axis=0)
        self._explained.inc(n_rows)
        for counter, added in zip(self._sums, per_feature.tolist(), strict=True):
            counter.inc(added)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return as_text(self._source().collect())

    def _source(self) -> Collector:
        if self._folder is None:
            return self._registry
        return MultiProcessCollector(CollectorRegistry(), str(self._folder))  # type: ignore[no-untyped-call]


def as_text(metrics: Iterable[Metric]) -> bytes:
    """Write metrics in Prometheus' text format, with the mean importances that follow from them."""
    registry = CollectorRegistry()
    registry.register(_WithMeans(metrics))
    return generate_latest(registry)


class _WithMeans(Collector):
    """Metrics as they are given, and each feature's mean importance over all of them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = [metric for metric in metrics if metric.name != MEAN]

    def collect(self) -> Iterator[Metric]:
        metrics = self._metrics
        yield from metrics
        n_rows = sum(_totals(metrics, COUNT).values())
        if not n_rows:
            return
        means = GaugeMetricFamily(MEAN, "Mean |local importance| of a row", labels=["feature"])
        for feature, total in _totals(metrics, SUM).items():
            means.add_metric([feature], total / n_rows)
        yield means


def _totals(metrics: Iterable[Metric], name: str) -> dict[str, float]:
    """Return the values of a counter by feature; one without features has them under ""."""
    totals = {}
    for sample in chain.from_iterable(map(attrgetter("samples"), metrics)):
        if sample.name == f"{name}_total":
            totals[sample.labels.get("feature", "")] = sample.value
    return totals


def _number_of_rows(predictions: Any) -> int | None:
    """Return how many predictions a script of the user's own answers, None for something else."""
    told = plain(predictions)
    return len(told) if isinstance(told, list | tuple | pd.DataFrame) else None


def _as_importances(values: Any, shape: tuple[int, int]) -> NDArray[np.float64] | None:
    """Return importances of a script's own as an array, None where they are none of ours."""
    try:
        importances = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    is_ours = importances.shape[-2:] == shape and np.isfinite(importances).all()
    return importances if is_ours else None
