"""
Finding what a run has left
===========================

The notebook of Azure ML's documents, with its imports changed: an explanation and a registered
scoring explainer, found by somebody who has neither run the script nor its files. Run
``python -m examples.run_history`` before it, in the same folder.
"""

from sklearn.datasets import load_breast_cancer

from service.runs import ExplanationClient, Model, Run, Workspace
from service.scoring import load

# %%
# 1. The newest run that has an explanation.
ws = Workspace.from_config()
newest = ws.runs(with_explanations=True)[0]
client = ExplanationClient.from_run(Run(ws, newest.info.run_id))
for summary in client.list_model_explanations():
    print(summary["comment"])

# %%
# 2. Its four most important features; of a large explanation nothing else is read.
explanation = client.download_model_explanation(comment="global explanation: all features", top_k=4)
print(f"global importance values: {explanation.get_ranked_global_values()}")
print(f"global importance names: {explanation.get_ranked_global_names()}")

# %%
# 3. The registered scoring explainer, compared with its digests before it is loaded.
scoring_explainer_model = Model(ws, "my_scoring_explainer")
path = scoring_explainer_model.download(target_dir="downloaded", exist_ok=True)
scoring_explainer = load(path)
rows = load_breast_cancer(as_frame=True).data[:2]
importances = scoring_explainer.explain_rows(rows)
print(f"explained {len(importances)} rows with version {scoring_explainer_model.version}")
