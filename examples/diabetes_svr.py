"""
A regression
============

Support vector regression on the diabetes data. Train it with ``make train-regression`` and serve it
with ``AZUREML_MODEL_DIR=artifacts-diabetes make serve``.
"""

from pathlib import Path

from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save

# %%
# 1. A fitted model. The scaler is a part of it, so importances are given for the raw columns.
data = load_diabetes(as_frame=True, scaled=False)
x_train, x_test, y_train, y_test = train_test_split(
    data.data, data.target, test_size=0.2, random_state=0
)
model = make_pipeline(StandardScaler(), SVR(C=100)).fit(x_train, y_train)
print(f"R² on {len(x_test)} test rows: {model.score(x_test, y_test):.3f}")

# %%
# 2. One patient. A support vector machine with an RBF kernel is explained exactly, on all training
# rows: the mean prediction and the importances add up to the prediction.
explainer = TabularExplainer(model, x_train)
local = explainer.explain_local(x_test[:1])
predicted = model.predict(x_test[:1])[0]
print(f"Mean prediction {local.expected_values:.1f}, for this patient {predicted:.1f}, because")
names, values = local.get_ranked_local_names(3)[0], local.get_ranked_local_values(3)[0]
for name, value in zip(names, values, strict=True):
    print(f"  {name:6} {value:+.1f}")

# %%
# 3. Saved for the service.
artifacts = Path("artifacts-diabetes")
path = save(KernelScoringExplainer(explainer), artifacts, exist_ok=True, original_model=model)
(artifacts / "examples.json").write_text(x_test[:4].to_json())
print(f"Saved {path} and {artifacts / 'original_model.pkl'}")
