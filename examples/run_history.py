"""
Run history
===========

Train, explain, upload and register in a run: ``train_explain.py`` of Azure ML's documents, with its
imports changed. Everything lies below ``.runs/``, or in the store that MLFLOW_TRACKING_URI names.
``download_explanation.py`` finds it again.
"""

from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from service.explainers import TabularExplainer
from service.runs import ExplanationClient, Run
from service.scoring import KernelScoringExplainer, save

run = Run.get_context()
client = ExplanationClient.from_run(run)

# %%
# 1. The data and the model, which the documents leave to the reader.
data = load_breast_cancer(as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(
    data.data, data.target, test_size=0.2, random_state=0
)
model = SVC(gamma=0.001, C=100).fit(x_train, y_train)
run.log("accuracy", model.score(x_test, y_test))

# %%
# 2. What drives the model as a whole goes to the run, for all who look there.
explainer = TabularExplainer(
    model, x_train, features=list(data.feature_names), classes=list(data.target_names)
)
global_explanation = explainer.explain_global(x_test)
client.upload_model_explanation(global_explanation, comment="global explanation: all features")
client.upload_model_explanation(
    global_explanation, top_k=2, comment="global explanation: only top 2 features"
)

# %%
# 3. The scoring explainer is registered: the next version of a model, which never changes.
output = Path("my_directory")
save(KernelScoringExplainer(explainer), output, exist_ok=True)
run.upload_file("scoring_explainer.pkl", output / "scoring_explainer.pkl")
registered = run.register_model(
    model_name="my_scoring_explainer", model_path="scoring_explainer.pkl"
)
print(registered.name, registered.id, registered.version, sep="\t")
