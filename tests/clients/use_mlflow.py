"""MLflow's ScoringServerClient as it is: PORT and a file of records in, what it got out."""

import json
import sys

import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

port, file = sys.argv[1:]
frame = pd.read_json(file, orient="records", dtype=False, convert_dates=False)
client = ScoringServerClient("127.0.0.1", port)
client.wait_server_ready(timeout=10)
lists = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
got = {"version": client.get_version()}
for name, rows in {
    "frame": frame,
    "reversed columns": frame[frame.columns[::-1]],
    "array": frame.to_numpy(),
    "list": lists,
}.items():
    got[name] = client.invoke(rows).get_predictions().iloc[:, 0].tolist()
try:
    client.invoke(frame.iloc[:, 1:])
except Exception as error:
    got["refusal"] = str(error)
print(json.dumps(got))
