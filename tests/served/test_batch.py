"""``python -m service score FILE``: whole files, in bounded memory, resumable, never half
written.
"""

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
from serving import OURS, ROOT
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from service import batch
from service.batch import BatchError, score_file
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel, save

N_ROWS = 600  # three chunks, the last one not full
WHOLE = "[0-9]" * 8  # names of finished parts


@pytest.fixture(scope="module")
def table():
    """A number with missing values, a category, text of digits, and two columns that the model does
    not know.
    """
    random = np.random.default_rng(0)
    amount = random.normal(size=N_ROWS).round(6)  # as many digits as to_json writes
    amount[::7] = np.nan
    return pd.DataFrame(
        {
            "id": np.arange(N_ROWS),
            "amount": amount,
            "colour": pd.Categorical(random.choice(["red", "light blue", "a,b"], N_ROWS)),
            "zip": random.choice(["02139", "10115"], N_ROWS),
            "comment": [f'says "{i}"' for i in range(N_ROWS)],
        }
    )


@pytest.fixture(scope="module")
def model(table):
    columns = table[["amount", "colour", "zip"]]
    prepared = make_column_transformer(
        (SimpleImputer(), ["amount"]), (OneHotEncoder(), ["colour", "zip"])
    )
    fitted = make_pipeline(prepared, LogisticRegression()).fit(
        columns, (table["id"] % 3 == 0).astype(int)
    )
    return ScoringModel(
        fitted,
        KernelScoringExplainer(TabularExplainer(fitted, columns[:50], classes=["no", "yes"])),
    )


@pytest.fixture(scope="module")
def expected(model, table):
    """What the model answers for all rows at once: predictions and [class][row][feature]."""
    body = table[["amount", "colour", "zip"]].to_json(orient="records")
    answer = model.score(body)
    return answer["predictions"], np.array(answer["local_importance_values"])


WRITERS = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
}
READERS = {
    ".csv": lambda path: pd.read_csv(path, dtype={"zip": str}),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype={"zip": str}, precise_float=True),
    ".parquet": pd.read_parquet,
}


def written(table, folder, kind):
    path = folder / f"rows{kind}"
    WRITERS[kind](table, path)
    return path


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_rows_of_a_table_come_back_with_predictions_and_importances(
    kind, model, table, expected, tmp_path
):
    """Number for number what ScoringModel answers, in order; every column that came is kept as it
    was.
    """
    output = tmp_path / f"out{kind}"
    assert score_file(model, written(table, tmp_path, kind), output) == N_ROWS

    scored = READERS[kind](output)
    predictions, importances = expected
    assert scored["prediction"].tolist() == predictions
    for class_, of_class in zip(["no", "yes"], importances, strict=True):
        for feature, values in zip(["amount", "colour", "zip"], of_class.T, strict=True):
            assert scored[f"importance:{class_}:{feature}"].tolist() == values.tolist()
    before = READERS[kind](tmp_path / f"rows{kind}")
    pd.testing.assert_frame_equal(scored[before.columns.tolist()], before)
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.parametrize("n_hyper", [1, 2])
def test_files_are_scored_by_a_search(n_hyper, table, tmp_path):
    """Whose results hold masked arrays, of numbers and of objects."""
    columns = table[["amount"]].fillna(0.0)
    grid = dict(
        itertools.islice({"C": [0.1, 1.0], "class_weight": ["balanced", None]}.items(), n_hyper)
    )
    search = GridSearchCV(LogisticRegression(), grid, cv=2).fit(columns, table["id"] % 3 == 0)
    model = ScoringModel(search, KernelScoringExplainer(TabularExplainer(search, columns[:50])))
    output = tmp_path / "out.csv"
    assert score_file(model, written(columns, tmp_path, ".csv"), output) == N_ROWS
    scored = READERS[".csv"](output)["prediction"]
    assert scored.tolist() == search.predict(columns).tolist()


def test_json_lines_come_back_with_nested_importances(model, table, expected, tmp_path):
    """One object a line: what came, the prediction, and importances [class][feature]."""
    output = tmp_path / "out.jsonl"
    score_file(model, written(table, tmp_path, ".jsonl"), output)

    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    predictions, importances = expected
    assert [line["prediction"] for line in lines] == predictions
    assert [line["local_importance_values"] for line in lines] == importances.transpose(
        1, 0, 2
    ).tolist()
    before = [
        json.loads(line)
        for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [{name: line[name] for name in before[0]} for line in lines] == before


def test_a_regression_without_importances(tmp_path):
    """explain=False leaves the predictions alone."""
    x = np.random.default_rng(0).normal(size=(30, 2))
    fitted = LinearRegression().fit(x, x[:, 0])
    model = ScoringModel(
        fitted, KernelScoringExplainer(TabularExplainer(fitted, x, features=["a", "b"]))
    )
    file = written(pd.DataFrame(x, columns=["a", "b"]), tmp_path, ".csv")

    score_file(model, file, tmp_path / "plain.csv", explain=False)
    score_file(model, file, tmp_path / "full.csv")

    plain, full = (READERS[".csv"](tmp_path / name) for name in ("plain.csv", "full.csv"))
    assert list(plain) == ["a", "b", "prediction"]
    assert list(full) == ["a", "b", "prediction", "importance:a", "importance:b"]
    assert plain["prediction"].tolist() == fitted.predict(x).tolist()


@pytest.mark.parametrize(
    ("kind", "spoil", "named"),
    [
        (
            ".csv",
            lambda text: text.replace("\n401,", "\n401,much", 1),
            "row 401: Column 'amount': expected a number",
        ),
        (
            ".csv",
            lambda text: text.replace("\n401,", "\n401,1,", 1),
            "row 401: expected 5 cells, got 6",
        ),
        (".csv", lambda text: text.replace("amount", "id", 1), "expected each column name once"),
        (".csv", lambda text: text.replace("comment", "prediction", 1), "no column 'prediction'"),
        (".csv", lambda text: text[: text.index("\n")], "at least one row"),
        (".csv", lambda text: "", "at least one row"),
        (".csv", lambda text: text.replace('""401""', "x" * 200_000), "field limit"),
        (".jsonl", lambda text: text.replace('{"id":401', '{"id":401"', 1), "row 401"),
        (".jsonl", lambda text: text.replace('{"id":401', '{"no":401', 1), "row 401"),
        (
            ".jsonl",
            lambda text: text.replace('{"id":401,"amount":', '{"id":401,"amount":"x', 1),
            "row 401",
        ),
        (".jsonl", lambda text: "[[1, 2]]\n", "row 0: expected one JSON object a line"),
    ],
    ids=[
        "value",
        "cells",
        "names",
        "taken",
        "header",
        "empty",
        "cell",
        "json",
        "keys",
        "json value",
        "list",
    ],
)
def test_a_bad_row_is_named_and_no_output_is_left(kind, spoil, named, model, table, tmp_path):  # noqa: PLR0917
    """The sentence has the file and the row, counted from 0 in the file; mended, the file is
    scored.
    """
    file, output = written(table, tmp_path, kind), tmp_path / f"out{kind}"
    good = file.read_text(encoding="utf-8")
    file.write_text(spoil(good), encoding="utf-8")

    with pytest.raises(BatchError, match=named) as refused:
        score_file(model, file, output)
    assert str(file) in str(refused.value)
    assert not output.exists()

    file.write_text(good, encoding="utf-8")
    assert score_file(model, file, output) == N_ROWS


def test_a_file_that_is_no_text_is_refused(model, tmp_path):
    """Bytes that are not UTF-8, and a Parquet file that is none: one sentence, not a traceback."""
    for kind in (".csv", ".jsonl", ".parquet"):
        file = tmp_path / f"noise{kind}"
        file.write_bytes(b"amount,colour,zip\n\xff\xfe,red,1\n")
        with pytest.raises(BatchError, match="noise"):
            score_file(model, file, tmp_path / f"out{kind}")


def test_two_kinds_of_file_are_refused(model, table, tmp_path):
    """What is read is what is written; and the input is never the output."""
    file = written(table, tmp_path, ".csv")
    with pytest.raises(BatchError, match="two files of one kind"):
        score_file(model, file, tmp_path / "out.parquet")
    with pytest.raises(BatchError, match="another file than the input"):
        score_file(model, file, file)


# Interrupted


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save(model.scoring_explainer, folder, exist_ok=True, original_model=model.original_model)
    return folder


def start(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "service",
            "score",
            "--model_dir",
            str(folder),
            *map(str, arguments),
        ],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_what_was_interrupted_goes_on_where_it_stopped(folder, table, tmp_path):
    """SIGKILL in the middle: no output, whole parts; the next run keeps them and ends with the same
    bytes.
    """
    file = written(pd.concat([table] * 30), tmp_path, ".csv")
    parts = tmp_path / "killed.csv.parts"

    running = start(folder, file, "--output", tmp_path / "killed.csv")
    end = time.monotonic() + 60
    while len(list(parts.glob(WHOLE))) < 4:
        assert running.poll() is None, "it was over before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.001)
    running.kill()
    finished(running)
    assert not (tmp_path / "killed.csv").exists()
    kept = {part: part.stat().st_mtime_ns for part in parts.glob(WHOLE)}
    assert len(kept) >= 4
    first = min(kept)
    first.write_bytes(first.read_bytes() + b"MARKED\n")  # whoever computes it anew would drop this

    assert finished(start(folder, file, "--output", tmp_path / "killed.csv"))[0] == 0
    status, said = finished(start(folder, file, "--output", tmp_path / "in_peace.csv"))
    assert (status, f"{30 * N_ROWS} rows" in said) == (0, True)
    whole = (tmp_path / "killed.csv").read_bytes()
    assert whole.count(b"MARKED\n") == 1
    assert whole.replace(b"MARKED\n", b"") == (tmp_path / "in_peace.csv").read_bytes()
    assert not parts.exists()


def test_the_command_stops_at_once_at_ctrl_c(folder, table, tmp_path):
    """Whatever is at work in threads: one sentence, 130, and what is finished is kept."""
    file = written(pd.concat([table] * 30), tmp_path, ".csv")
    parts = tmp_path / "out.csv.parts"
    running = start(folder, file, "--output", tmp_path / "out.csv", "--threads", 2)
    end = time.monotonic() + 60
    while not list(parts.glob("0*")):
        assert running.poll() is None
        assert time.monotonic() < end
        time.sleep(0.001)
    running.send_signal(signal.SIGINT)
    status, said = finished(running)
    assert (status, "the same command goes on from here" in said) == (130, True)
    assert "Traceback" not in said
    assert list(parts.glob("0*"))
    assert not (tmp_path / "out.csv").exists()


def test_threads_change_nothing(model, table, tmp_path, monkeypatch):
    """One thread and five write the same bytes, and name the same bad row."""
    monkeypatch.setattr(batch, "LONG", 0.0)  # threads begin after the first chunk
    file = written(pd.concat([table] * 3), tmp_path, ".csv")
    scored = []
    for threads in (1, 5):
        output = tmp_path / f"by-{threads}.csv"
        assert score_file(model, file, output, threads=threads) == 3 * N_ROWS
        scored.append(output.read_bytes())
    assert scored[0] == scored[1]
    spoilt = pd.concat([table] * 3, ignore_index=True).astype({"amount": object})
    spoilt.loc[[N_ROWS, 2 * N_ROWS], "amount"] = "much"
    bad = written(spoilt, tmp_path, ".csv")
    for threads in (1, 5):
        with pytest.raises(BatchError, match=rf", row {N_ROWS}: "):
            score_file(model, bad, tmp_path / "bad.csv", threads=threads)
    with pytest.raises(ValueError, match=r"threads: expected a positive number, got 0"):
        score_file(model, file, tmp_path / "none.csv", threads=0)


def test_two_runs_do_not_write_the_same_output(folder, model, table, tmp_path):
    """The second is refused while the first goes on; the first ends as if it had been alone."""
    file, output = written(pd.concat([table] * 30), tmp_path, ".csv"), tmp_path / "out.csv"
    parts = tmp_path / "out.csv.parts"

    first = start(folder, file, "--output", output)
    while not list(parts.glob("0*")):
        assert first.poll() is None
        time.sleep(0.001)
    with pytest.raises(
        BatchError, match=r"out.csv: another run is writing it; wait for that, or name another"
    ):
        score_file(model, file, output)
    assert not output.exists()
    assert finished(first)[0] == 0
    assert len(READERS[".csv"](output)) == 30 * N_ROWS


def test_another_input_or_option_starts_anew(model, table, tmp_path, monkeypatch):
    """Parts of before are used only for the same input, model and options."""
    file, output = written(table, tmp_path, ".csv"), tmp_path / "out.csv"

    def interrupted(**options):
        with monkeypatch.context() as patch:
            patch.setitem(batch._FORMATS, ".csv", batch.Format(*broken_join()))
            with pytest.raises(InterruptedError):
                score_file(model, file, output, **options)

    def broken_join():
        form = batch._FORMATS[".csv"]

        def join(*_):
            raise InterruptedError

        return form.reader, form.columns_of, form.write, join

    interrupted(explain=False)
    assert score_file(model, file, output) == N_ROWS
    assert "importance:yes:zip" in READERS[".csv"](output)

    interrupted()
    WRITERS[".csv"](table[::-1], file)
    score_file(model, file, output)
    assert READERS[".csv"](output)["id"].tolist() == table["id"].tolist()[::-1]


def test_the_command_writes_beside_the_file_and_says_how_many(folder, table, tmp_path):
    """FILE.scored, one line with the number of rows; a bad file is one sentence and 1."""
    file = written(table, tmp_path, ".csv")
    status, said = finished(start(folder, file, "--no-explain"))
    assert (status, f"rows.scored.csv: {N_ROWS} rows" in said) == (0, True)
    assert list(READERS[".csv"](tmp_path / "rows.scored.csv")) == [*table.columns, "prediction"]

    file.write_text("amount\nmuch\n", encoding="utf-8")
    status, said = finished(start(folder, file))
    assert status == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_file(kind, folder, table, tmp_path):
    """Rows of 100 MB pass through, with less than half of that more than a twentieth of them
    takes.
    """
    random = np.random.default_rng(0)
    few, many = (
        peak_of_scoring(
            folder,
            written(
                pd.concat([table] * times).assign(
                    comment=[random.bytes(4000).hex() for _ in range(times * N_ROWS)]
                ),
                tmp_path,
                kind,
            ),
        )
        for times in (1, 20)
    )
    assert many - few < 50 * 2**20


def peak_of_scoring(folder, file):
    running = start(folder, file, "--no-explain")
    process, peak = psutil.Process(running.pid), 0
    while running.poll() is None:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.005)
    assert finished(running)[0] == 0
    return peak


def test_cells_of_csv(tmp_path):
    """Empty cells are missing, categories and booleans are what they were, and no number is guessed
    from 1_000.
    """
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "grade": pd.Categorical(random.choice([1, 2, 3], 40)),
            "is_new": random.random(40) < 0.5,
            "score": np.where(np.arange(40) % 5 == 0, np.nan, random.normal(size=40)),
        }
    )
    prepared = make_column_transformer(
        (OneHotEncoder(), ["grade"]), (SimpleImputer(), ["is_new", "score"])
    )
    fitted = make_pipeline(prepared, LinearRegression()).fit(table, random.normal(size=40))
    model = ScoringModel(fitted, KernelScoringExplainer(TabularExplainer(fitted, table)))
    file = written(table, tmp_path, ".csv")

    score_file(model, file, tmp_path / "out.csv")
    assert (
        READERS[".csv"](tmp_path / "out.csv")["prediction"].tolist()
        == fitted.predict(table).tolist()
    )

    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["grade", "is_new", "score"], ["1", "True", "1_000"]])
    with pytest.raises(BatchError, match="row 0: Column 'score': expected a number, got '1_000'"):
        score_file(model, file, tmp_path / "out.csv")
