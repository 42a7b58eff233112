"""
A surrogate
===========

A Gaussian process can only be called: thousands of times for each row that is explained. A
surrogate that imitates it is explained at once and exactly; how far it imitates is measured, and
has to be read first.
"""

from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.explainers import LGBMExplainableModel, MimicExplainer
from service.scoring import KernelScoringExplainer, save

# %%
# 1. A fitted model, the teacher.
data = load_breast_cancer(as_frame=True)
columns = ["worst area", "worst concave points", "mean texture", "worst smoothness"]
x_train, x_test, y_train, y_test = train_test_split(
    data.data[columns], data.target, train_size=200, random_state=0
)
model = make_pipeline(StandardScaler(), GaussianProcessClassifier(random_state=0))
model.fit(x_train, y_train)
print(f"Accuracy on {len(x_test)} test rows: {model.score(x_test, y_test):.3f}")

# %%
# 2. Its surrogate, fitted to the probability that the teacher answers: on the training rows, and on
# mixtures of them, which are what importances are computed on.
explainer = MimicExplainer(
    model, x_train, LGBMExplainableModel, classes=list(data.target_names), random_state=0
)
for name, value in explainer.fidelity.items():
    print(f"  {name:20} {value:.3f}")
print(f"Blocks of mixtures: {explainer.num_of_augmentations}")

# %%
# 3. The reasons. R² on mixtures close to 1 says that they are near those of the teacher.
overall = explainer.explain_global()
for name, value in overall.get_feature_importance_dict().items():
    print(f"  {name:22} {value:.3f}")
overall  # its picture, in a notebook

# %%
# 4. Saved for the service: the surrogate's arrays, neither LightGBM nor the teacher's own.
path = save(KernelScoringExplainer(explainer), Path("artifacts-mimic"), exist_ok=True)
print(f"Saved {path}")
