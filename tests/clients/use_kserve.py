"""KServe's InferenceRESTClient as it is, both protocols: PORT and a file of records in, what it got
out.
"""

import asyncio
import json
import sys
from pathlib import Path

from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

port, file = sys.argv[1:]
address = f"http://127.0.0.1:{port}"
records = json.loads(Path(file).read_text(encoding="utf-8"))
DATATYPES = {bool: "BOOL", int: "INT64", str: "BYTES"}


def tensors():
    """A tensor for each column."""
    for name in records[0]:
        values = [record[name] for record in records]
        datatype = DATATYPES.get(type(values[0]), "FP64")
        yield InferInput(name=name, shape=[len(values)], datatype=datatype, data=values)


async def first():
    async with InferenceRESTClient(RESTConfig(protocol="v1", timeout=60)) as client:
        rows = {"instances": records}
        refused = await asyncio.gather(
            client.infer(address, {"instances": [{}]}, model_name="model"),
            client.infer(address, rows, model_name="other"),
            return_exceptions=True,
        )
        return {
            "ready": await client.is_model_ready(address, "model"),
            "predict": await client.infer(address, rows, model_name="model"),
            "explain": await client.explain(address, "model", rows),
            "refusals": [str(error) for error in refused],
        }


async def second():
    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=60)) as client:
        asked = InferRequest(model_name="model", infer_inputs=list(tensors()), request_id="of mine")
        answer = await client.infer(address, asked, model_name="model")
        return {
            "live": await client.is_server_live(address),
            "ready": [
                await client.is_server_ready(address),
                await client.is_model_ready(address, "model"),
            ],
            "other": await client.is_model_ready(address, "other"),
            "id": answer.id,
            "outputs": {output.name: [output.shape, output.data] for output in answer.outputs},
        }


print(json.dumps({"v1": asyncio.run(first()), "v2": asyncio.run(second())}))
