"""What Prometheus is told, added up over all workers.

Where ``PROMETHEUS_MULTIPROC_DIR`` is set, as gunicorn's configuration does, the workers write their
numbers into files of that folder and any of them answers for all.
"""

import os
from collections.abc import Iterable, Iterator

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.scoring.answer import Answer
from service.scoring.scoring_model import ScoringModel

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
UNREADABLE = "unreadable"  # the route of requests that are no HTTP
SUM, COUNT, MEAN = "scoring_importance_sum", "scoring_rows_explained", "scoring_importance_mean"


class Metrics:
    """The counters of one process; thread-safe.

    Parameters
    ----------
    model_name : str
    model : ScoringModel or None
        Names the features; without it there is nothing to say of them.
    """

    def __init__(self, model_name: str, model: ScoringModel | None) -> None:
        self.registry = registry = CollectorRegistry()
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
        self._explaining = Histogram(
            "scoring_explanation_seconds",
            "Time to explain the rows of a request",
            buckets=SECONDS,
            registry=registry,
        )
        self._rows = Histogram("scoring_rows", "Rows in a request", buckets=ROWS, registry=registry)
        self._explained = Counter(COUNT, "Rows explained", registry=registry)
        self._importance = Counter(
            SUM,
            "Sum of |local importance| over rows, mean of the classes",
            ["feature"],
            registry=registry,
        )
        self._missing = Counter(
            "scoring_missing_values", "Missing values", ["feature"], registry=registry
        )
        self._features = [] if model is None else model.scoring_explainer.features
        self._columns = [] if model is None else model.schema.names
        self._sums = [self._importance.labels(name) for name in self._features]
        self._gaps = [self._missing.labels(name) for name in self._columns]
        self._info = Gauge(
            "scoring_model_info",
            "The model, 1",
            ["name", "model", "method", "output"],
            registry=registry,
            multiprocess_mode="max",
        )
        described = model.scoring_explainer.to_dict() if model is not None else {}
        self._info.labels(
            model_name, *(str(described.get(key, "")) for key in ("model", "method", "output"))
        ).set(1)

    def request(self, route: str, code: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, str(code)).inc()
        self._latency.labels(route).observe(seconds)

    def unreadable(self, code: int) -> None:
        """Count a request that was no HTTP, of which no time to answer is known."""
        self._requests.labels(UNREADABLE, str(code)).inc()

    def scored(self, answer: Answer) -> None:
        """Count the rows of a request: what drove their predictions, and what was missing in
        them.
        """
        self._rows.observe(len(answer.rows))
        missing = (answer.rows != answer.rows).sum(axis=0)  # only NaN differs from itself
        for column in np.flatnonzero(missing):
            self._gaps[column].inc(int(missing[column]))
        if answer.importances is None:
            return
        self._explaining.observe(answer.seconds_explaining)
        self._explained.inc(len(answer.rows))
        values = np.abs(answer.importances.values)
        per_feature = (values.mean(axis=0) if values.ndim == 3 else values).sum(axis=0)
        for counter, added in zip(self._sums, per_feature.tolist(), strict=True):
            counter.inc(added)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(_with_means(self._source()))

    def _source(self) -> Collector:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self.registry
        return MultiProcessCollector(CollectorRegistry())  # type: ignore[no-untyped-call]


class _Means(Collector):
    """Adds each feature's mean importance to what another collector says."""

    def __init__(self, source: Collector) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        metrics = list(self._source.collect())
        yield from metrics
        yield from _means(metrics)


def _with_means(source: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Means(source))
    return registry


def _means(metrics: Iterable[Metric]) -> Iterator[Metric]:
    by_name = {metric.name: metric for metric in metrics}
    rows = (
        sum(sample.value for sample in by_name[COUNT].samples if sample.name.endswith("_total"))
        if COUNT in by_name
        else 0
    )
    if not rows or SUM not in by_name:
        return
    means = GaugeMetricFamily(MEAN, "Mean |local importance| of a row", labels=["feature"])
    for sample in by_name[SUM].samples:
        if sample.name.endswith("_total"):
            means.add_metric([sample.labels["feature"]], sample.value / rows)
    yield means
