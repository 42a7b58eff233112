"""What existing clients do: requests.post of a frame's to_json(). PORT and a file of records in,
the answer out.
"""

import json
import sys

import pandas as pd
import requests

port, file = sys.argv[1:]
examples = pd.read_json(file, orient="records", dtype=False, convert_dates=False)
response = requests.post(
    f"http://127.0.0.1:{port}/score",
    examples.to_json(),
    headers={"Content-Type": "application/json"},
    timeout=60,
)
print(json.dumps({"status": response.status_code, "answer": response.json()}))
