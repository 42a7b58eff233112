"""
Raw features
============

Rents of flats: texts, numbers and missing values. The model sees encoded columns, and people want
those that they know: ``transformations=`` explains it on raw rows.
"""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save

# %%
# 1. Raw rows, as they come out of a database: a tenth of the years is missing.
random = np.random.default_rng(0)
flats = pd.DataFrame(
    {
        "town": random.choice(["Bern", "Chur", "Zug"], 400),
        "heating": random.choice(["gas", "wood", "heat pump"], 400),
        "area": random.uniform(25, 140, 400).round(),
        "built": random.integers(1900, 2024, 400).astype(float),
    }
)
flats.loc[random.random(400) < 0.1, "built"] = np.nan
rent = 14 * flats["area"] * np.where(flats["town"] == "Zug", 1.6, 1.0) + 3 * (flats["area"] > 90)

# %%
# 2. Transformations and a model behind them, fitted. Nothing is fitted again.
transformations = ColumnTransformer(
    [
        ("texts", OneHotEncoder(sparse_output=False), ["town", "heating"]),
        ("area", StandardScaler(), ["area"]),
        ("built", SimpleImputer(add_indicator=True), ["built"]),
    ]
)
model = HistGradientBoostingRegressor(max_iter=50, random_state=0)
model.fit(transformations.fit_transform(flats), rent)

# %%
# 3. Four raw columns are explained, although the model takes nine. Those are explained as well.
explainer = TabularExplainer(model, flats, transformations=transformations)
local = explainer.explain_local(flats[:2], engineered=True)
for explanation in (local, local.engineered):
    ranked = explanation[0].to_frame().iloc[0].sort_values(ascending=False)
    print(", ".join(f"{name} {value:+.1f}" for name, value in ranked.items()))
local  # the picture of the first row, in a notebook

# %%
# 4. The scoring explainer takes raw rows, and the served model is the whole pipeline.
scoring, whole = KernelScoringExplainer(explainer), make_pipeline(transformations, model)
path = save(scoring, "artifacts-flats", True, original_model=whole)
print(f"Saved {path}; it says {np.round(load(path).explain(flats[:1]), 1).tolist()}")
