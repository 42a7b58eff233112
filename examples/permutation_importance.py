"""
Permutation importance
======================

Which columns a metric depends on: each is permuted, and the metric measured again. It looks at the
labels, where Shapley values look at the model alone.
"""

from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from service.explainers import PFIExplainer

# %%
# 1. A forest behind an encoder of the only column with categories.
data = load_diabetes(as_frame=True, scaled=False)
rows = data.data.assign(sex=data.data["sex"].map({1.0: "female", 2.0: "male"}))
x_train, x_test, y_train, y_test = train_test_split(rows, data.target, random_state=0)
encoder = make_column_transformer((OneHotEncoder(), ["sex"]), remainder="passthrough")
model = RandomForestRegressor(50, random_state=0).fit(encoder.fit_transform(x_train), y_train)

# %%
# 2. What permuting a raw column costs on rows that the model has not seen, in units of the target.
# The standard error is that of the permutation alone.
explainer = PFIExplainer(model, transformations=encoder, n_repeats=5, seed=0)
overall = explainer.explain_global(x_test, y_test)
print(f"{overall.output}, more by")
errors = dict(zip(overall.features, overall.standard_errors or [], strict=True))
for name, value in overall.get_feature_importance_dict().items():
    print(f"  {name:4} {value:+6.2f} ± {errors[name]:.2f}")
overall  # its picture, in a notebook

# %%
# 3. Any other metric: a name says which, and in which direction it is better. A positive value is
# important, always.
for metric in ("r2_score", "root_mean_squared_error"):
    explainer = PFIExplainer(model, transformations=encoder, metric=metric, n_repeats=5)
    overall = explainer.explain_global(x_test, y_test)
    print(f"{metric}: {', '.join(overall.get_ranked_global_names(top_k=3))}")
