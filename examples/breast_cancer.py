"""
A classifier
============

Train the example, explain it, and save what the service needs: ``make train``. A support vector
machine tells malignant from benign tumours by 30 measurements (Wisconsin breast cancer data).
"""

from pathlib import Path

from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save

# %%
# 1. A fitted model. scikit-learn 1.9 spells ``SVC(probability=True)`` as a calibrated SVC.
data = load_breast_cancer(as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(
    data.data, data.target, test_size=0.2, random_state=0
)
model = CalibratedClassifierCV(SVC(gamma=0.001, C=100), ensemble=False).fit(x_train, y_train)
print(f"Accuracy on {len(x_test)} test rows: {model.score(x_test, y_test):.3f}")

# %%
# 2. A full explainer, for the notebook: which features drive the model as a whole?
explainer = TabularExplainer(model, x_train, classes=list(data.target_names))
overall = explainer.explain_global(x_test[:16])
largest = [f"{name} {value:.3f}" for name, value in overall.get_feature_importance_dict(3).items()]
print("Globally most important:", ", ".join(largest))

# %%
# 3. A scoring explainer, for the service: light, and it gives the same numbers.
scoring_explainer = KernelScoringExplainer(explainer)

# %%
# 4. Both go to ``artifacts/``, where ``score.py`` finds them, with four rows to try them on.
artifacts = Path("artifacts")
path = save(scoring_explainer, artifacts, exist_ok=True, original_model=model)
(artifacts / "examples.json").write_text(x_test[:4].to_json())
print(f"Saved {path} and {artifacts / 'original_model.pkl'}")
