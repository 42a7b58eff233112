"""Measure the documents' example against the documents' own stack: ``make bench-documents``.

Four rows, in process and over HTTP against azureml-inference-server with the documented script.
Both stacks fit the same model on the same rows; azureml-interpret summarises the 455 rows to ten
centres, as it does unless told otherwise, and ours takes all. The truth is that of all rows.
Ratios are of processor seconds, which other work on the machine leaves alone, and of the clock,
which alone shows what a second thread is good for.
"""

import argparse
import json
import statistics
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from benchmarks.cases import CASES
from benchmarks.documents.peer import peer
from benchmarks.serving.servers import running
from benchmarks.truth import relative_error
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save

RESULTS = Path(__file__).parent.parent / "results" / "documents.json"
SAME = 1e-6  # probabilities of one function; the truth is of no other
OURS_A_TURN = 20  # calls of ours for one of theirs, so that both take some time
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main():
    """Measure the parts asked for, print and record."""
    given = arguments()
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    with tempfile.TemporaryDirectory() as folder, peer(Path(folder), given.model) as theirs:
        for name in given.only:
            key = f"{name}, {given.model}"
            found[key] = PARTS[name](theirs, given.turns)
            print(key, json.dumps(found[key], indent=1), flush=True)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument(
        "--model",
        choices=("calibrated", "probability"),
        default="calibrated",
        help="theirs: what scikit-learn 1.9 has, so that both explain one function, or as written",
    )
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


def in_process(theirs, turns):
    """Explain the four rows by both in turn, ours by one thread and by two."""
    case, rows = CASES["svc_probability_whole"](), four_rows()
    explain = our_explainer().explain_rows
    ours = explain(rows)
    halves = [rows[:2], rows[2:]]
    taken = {"theirs": [], "ours": [], "ours, two threads": []}
    with ThreadPoolExecutor(2) as threads:
        for _ in range(turns):
            answer = theirs.explain()
            taken["theirs"].append((answer["processor_s"], answer["clock_s"]))
            taken["ours"].append(timed(lambda: explain(rows), OURS_A_TURN))
            in_two = timed(lambda: list(threads.map(explain, halves)), OURS_A_TURN)
            taken["ours, two threads"].append(in_two)
    truth = case.truth(case.full)
    gap = float(np.abs(theirs.probabilities - case.function(case.tests)).max())
    answers = {"ours": ours.values}
    if gap < SAME:
        answers["theirs"] = np.array(answer["values"])
    errors = {
        name: relative_error(values.transpose(1, 0, 2), truth) for name, values in answers.items()
    }
    return {
        "seconds": {name: medians(pairs) for name, pairs in taken.items()},
        "ratios": against(taken, "ours") | against(taken, "ours, two threads"),
        "error": errors,
        "error_of_the_truth": float(truth.noise),
        "largest_difference_of_probabilities": gap,
    }


def over_http(theirs, turns):
    """POST the four rows to both servers in turn, one client."""
    folder = theirs.folder / "ours"
    save(
        our_explainer(),
        folder,
        exist_ok=True,
        original_model=CASES["svc_probability_whole"]().model,
    )
    body = four_rows().to_json().encode()
    taken, predictions = {"ours": [], "theirs": []}, {}
    with (
        running("ours", folder) as ours,
        running("azureml-interpret", theirs.folder) as azureml,
    ):
        servers = {"ours": (ours, OURS_A_TURN), "theirs": (azureml, 1)}
        for name, (server, _) in servers.items():  # the first is slower
            predictions[name] = json.loads(posted(server, body))["predictions"]
        for _ in range(turns):
            for name, (server, times) in servers.items():
                taken[name].append(timed_posts(server, body, times))
    assert predictions["ours"] == predictions["theirs"]
    return {
        "seconds": {name: medians(pairs) for name, pairs in taken.items()},
        "ratios": against(taken, "ours"),
    }


def our_explainer():
    """Make the scoring explainer of the documents' example, as :mod:`examples.breast_cancer`."""
    frame = load_breast_cancer(as_frame=True).data
    x_train, _ = train_test_split(frame, test_size=0.2, random_state=0)
    return KernelScoringExplainer(TabularExplainer(CASES["svc_probability_whole"]().model, x_train))


def four_rows():
    """The rows of the documents' request: the first of the test rows."""
    frame = load_breast_cancer(as_frame=True).data
    return train_test_split(frame, test_size=0.2, random_state=0)[1][:4]


def timed(work, times):
    """Return the processor and the clock time of a call, over so many in a row."""
    began = time.process_time(), time.perf_counter()
    for _ in range(times):
        work()
    ended = time.process_time(), time.perf_counter()
    return tuple((end - begin) / times for begin, end in zip(began, ended, strict=True))


def timed_posts(server, body, times):
    """Return the processor time of the server's tree for one POST, and the clock time."""
    began, waited = server.processor_seconds(), []
    for _ in range(times):
        started = time.perf_counter()
        posted(server, body)
        waited.append(time.perf_counter() - started)
    return (server.processor_seconds() - began) / times, statistics.median(waited)


def posted(server, body):
    """POST rows and read the whole answer."""
    request = urllib.request.Request(
        f"{server.address}/score", body, {"Content-Type": "application/json"}
    )
    with direct.open(request, timeout=600) as answer:
        return answer.read()


def medians(pairs):
    """Return the medians of processor and clock times."""
    return dict(
        zip(("processor", "clock"), map(statistics.median, zip(*pairs, strict=True)), strict=True)
    )


def against(taken, name):
    """Divide theirs by ours, turn by turn, and return the medians."""
    ratios = [
        (theirs[0] / ours[0], theirs[1] / ours[1])
        for theirs, ours in zip(taken["theirs"], taken[name], strict=True)
    ]
    return {f"{name}: {key}": ratio for key, ratio in medians(ratios).items()}


PARTS = {"in_process": in_process, "over_http": over_http}

if __name__ == "__main__":
    main()
