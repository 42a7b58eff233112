"""The documents' example in the documents' own stack: it runs in an environment of its own, and
knows nothing of this project.

``python azureml_interpret.py FOLDER MODEL`` fits, explains, and saves to the folder what the entry
script loads. Then each line of its input has it explain the four rows once, and it answers with a
line of JSON.
"""

import json
import sys
import time
from pathlib import Path

import joblib
from azureml.interpret.scoring.scoring_explainer import KernelScoringExplainer, load, save
from interpret.ext.blackbox import TabularExplainer
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

MODELS = {
    # What scikit-learn 1.9 has for it, so that both stacks explain one function.
    "calibrated": CalibratedClassifierCV(SVC(gamma=0.001, C=100.0), ensemble=False),
    # As the documents have it.
    "probability": SVC(gamma=0.001, C=100.0, probability=True),
}


def main():
    folder, name = sys.argv[1:]
    data = load_breast_cancer(as_frame=True)
    x_train, x_test, y_train, _ = train_test_split(
        data.data, data.target, test_size=0.2, random_state=0
    )
    model = MODELS[name].fit(x_train, y_train)
    explainer = TabularExplainer(
        model, x_train, features=list(x_train.columns), classes=list(data.target_names)
    )
    save(KernelScoringExplainer(explainer), directory=folder, exist_ok=True)
    joblib.dump(model, Path(folder) / "original_model.pkl")
    scoring_explainer, rows = load(folder), x_test[:4]
    answer({"probabilities": model.predict_proba(rows).tolist()})
    for _ in sys.stdin:
        began = time.process_time(), time.perf_counter()
        values = scoring_explainer.explain(rows)
        ended = time.process_time(), time.perf_counter()
        answer(
            {
                "processor_s": ended[0] - began[0],
                "clock_s": ended[1] - began[1],
                "values": values,
            }
        )


def answer(found):
    """Write one line."""
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
