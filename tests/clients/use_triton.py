"""Triton's HTTP client as it is, with JSON tensors: PORT and a file of records in, what it got
out.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton

port, file = sys.argv[1:]
records = json.loads(Path(file).read_text(encoding="utf-8"))
client = triton.InferenceServerClient(f"127.0.0.1:{port}", network_timeout=60)
DATATYPES = {bool: ("BOOL", bool), int: ("INT64", np.int64), str: ("BYTES", object)}


def tensor(name):
    """One column."""
    values = [record[name] for record in records]
    datatype, dtype = DATATYPES.get(type(values[0]), ("FP64", np.float64))
    sent = triton.InferInput(name, [len(values)], datatype)
    sent.set_data_from_numpy(np.array(values, dtype=dtype), binary_data=False)
    return sent


wanted = [
    triton.InferRequestedOutput(name, binary_data=False)
    for name in ("predictions", "local_importance_values")
]
answer = client.infer(
    "model", [tensor(name) for name in records[0]], outputs=wanted, request_id="7"
)
got = {
    "live": client.is_server_live(),
    "ready": [
        client.is_server_ready(),
        client.is_model_ready("model"),
        client.is_model_ready("model", "1"),
    ],
    "other": client.is_model_ready("other"),
    "server": client.get_server_metadata()["name"],
    "inputs": client.get_model_metadata("model")["inputs"],
    "id": answer.get_response()["id"],
    "predictions": answer.as_numpy("predictions").tolist(),
    "importances": answer.as_numpy("local_importance_values").tolist(),
}
try:
    client.infer("model", [tensor(next(iter(records[0])))])
except triton.InferenceServerException as error:
    got["refusal"] = [error.status(), error.message()]
binary = triton.InferInput("x", [1, 1], "FP64")
binary.set_data_from_numpy(np.ones((1, 1)))  # what the client does by default
try:
    client.infer("model", [binary])
except triton.InferenceServerException as error:
    got["binary"] = [error.status(), error.message()]
print(json.dumps(got))
