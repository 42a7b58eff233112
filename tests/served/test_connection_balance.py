"""Connections are shared evenly: behind a real gunicorn, and the counts by themselves."""

import http.client
import json
from collections import Counter

import pytest
from serving import serving

from service.server.connection_balance import SharedCounts

pytestmark = pytest.mark.alone


def test_kept_connections_are_spread_over_the_workers(iris_folder, four_rows, tmp_path):
    """Of twelve connections that stay open each of two workers has four at least; the log tells who
    answered them.
    """
    with serving(tmp_path, AZUREML_MODEL_DIR=str(iris_folder)) as service:
        clients = [
            http.client.HTTPConnection("127.0.0.1", service.port, timeout=60) for _ in range(12)
        ]
        for client in clients:  # all of them stay open
            client.request("POST", "/score?explain=false", four_rows.to_json())
            assert client.getresponse().read()
        lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
        for client in clients:
            client.close()

    answered = Counter(line["process"] for line in lines if line.get("route") == "/score")
    assert len(answered) == 2
    assert min(answered.values()) >= 4


def test_the_fewest_connections_are_those_of_workers_that_live():
    """A worker that has ended does not count, and without any there are none."""
    counts = SharedCounts()
    assert counts.fewest() == 0
    counts.tell(1, 5)
    counts.tell(2, 3)
    assert counts.fewest() == 3
    counts.forget(2)
    assert counts.fewest() == 5
    assert (counts.has(1), counts.has(2), counts.has_any()) == (True, False, True)
