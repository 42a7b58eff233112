"""KServe's own models of an InferenceService: manifests (JSON) in; out a list with "fits", or the
first thing that does not fit, of each.

A field that the models do not know, a value of another type and a missing field are found. The
models of KServe are generated from its schema but check nothing by themselves; the parts of a pod
are the Kubernetes client's, which do.
"""

import json
import re
import sys
from pathlib import Path

import kserve.models
import kubernetes.client
from pydantic import ValidationError

PLAIN = {"str": str, "int": int, "bool": bool, "float": float, "object": object}


def fit(value, kind, where):
    """Make the model of a value, as the schema says."""
    if inner := re.fullmatch(r"list\[(.+)\]", kind):
        return [fit(item, inner[1], f"{where}[{index}]") for index, item in enumerate(value)]
    if inner := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return {key: fit(item, inner[1], f"{where}.{key}") for key, item in value.items()}
    if kind in PLAIN:
        if type(value) is PLAIN[kind] or kind == "object":
            return value
        raise ValueError(f"{where}: expected {kind}, got {value!r}")
    if model := getattr(kserve.models, kind, None):
        return fit_kserve(value, model, where)
    return fit_kubernetes(value, getattr(kubernetes.client, kind), where)


def fit_kserve(value, model, where):
    names = {name: attribute for attribute, name in model.attribute_map.items()}
    for name in value:
        if name not in names:
            raise ValueError(f"{where}.{name}: no such field")
    fitted = {
        names[name]: fit(item, model.openapi_types[names[name]], f"{where}.{name}")
        for name, item in value.items()
    }
    return model(**fitted)


def fit_kubernetes(value, model, where):
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{where}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def verdict(manifest):
    try:
        fit(manifest, "V1beta1InferenceService", "service")
    except ValueError as error:
        return str(error)
    return "fits"


manifests = [json.loads(Path(file).read_text(encoding="utf-8")) for file in sys.argv[1:]]
print(json.dumps(list(map(verdict, manifests))))
