"""The least that could answer: a Flask view that parses JSON and asks the model."""

import os
from pathlib import Path

import joblib
import pandas as pd
from flask import Flask, jsonify, request

model = joblib.load(Path(os.environ["AZUREML_MODEL_DIR"]) / "original_model.pkl")
app = Flask(__name__)


@app.get("/ping")
def ping():
    return "ready"


@app.post("/score")
def score():
    return jsonify({"predictions": model.predict(pd.DataFrame(request.get_json())).tolist()})
