"""Explain the test rows of the classifier example, and show them in the browser.

This is what ``make dashboard`` runs; ``make train`` has saved the model.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from service.commands import main
from service.explainers import TabularExplainer
from service.explanations import save_explanation
from service.scoring import load, load_original_model

ARTIFACTS = Path("artifacts")
SHOWN = ARTIFACTS / "explanation"


def explain_test_rows() -> None:
    """Save the explanation of all test rows, with their true values."""
    data = load_breast_cancer(as_frame=True)
    x_train, x_test, _, y_test = train_test_split(
        data.data, data.target, test_size=0.2, random_state=0
    )
    model = load_original_model(ARTIFACTS)
    classes = load(ARTIFACTS).classes
    explanation = TabularExplainer(model, x_train, classes=classes).explain_global(x_test)
    context = replace(explanation.context, true_labels=y_test)
    save_explanation(replace(explanation, context=context), SHOWN, exist_ok=True, include_data=True)


if __name__ == "__main__":
    print("Explaining the test rows ...", flush=True)
    explain_test_rows()
    port = os.environ.get("DASHBOARD_PORT", "8090")
    sys.exit(main(["dashboard", str(SHOWN), "--model", str(ARTIFACTS), "--port", port]))
