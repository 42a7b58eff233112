"""
The documents' code
===================

What Microsoft's page "Use the interpretability package to explain ML models & predictions" runs,
line by line. A line that differs has a comment that says so; "Coming from azureml-interpret" lists
why. The page's code is published under the MIT license.
"""

# %%
# Train a model. scikit-learn 1.9 spells ``SVC(probability=True)`` as a calibrated SVC.

# load breast cancer dataset, a well-known small dataset that comes with scikit-learn
from sklearn.datasets import load_breast_cancer
from sklearn import svm
from sklearn.model_selection import train_test_split
breast_cancer_data = load_breast_cancer()
classes = breast_cancer_data.target_names.tolist()

# split data into train and test
from sklearn.model_selection import train_test_split
x_train, x_test, y_train, y_test = train_test_split(breast_cancer_data.data,
                                                    breast_cancer_data.target,
                                                    test_size=0.2,
                                                    random_state=0)
from sklearn.calibration import CalibratedClassifierCV  # here
clf = CalibratedClassifierCV(svm.SVC(gamma=0.001, C=100.), ensemble=False)  # here
model = clf.fit(x_train, y_train)

# %%
# The explainer of the model itself.

from service.explainers import TabularExplainer  # here

# "features" and "classes" fields are optional
explainer = TabularExplainer(model,
                             x_train,
                             features=breast_cancer_data.feature_names,
                             classes=classes)

# %%
# Explain the model as a whole: the last line shows a picture of it.

# you can use the training data or the test data here, but test data would allow you to use Explanation Exploration
global_explanation = explainer.explain_global(x_test)

# sorted feature importance values and feature names
sorted_global_importance_values = global_explanation.get_ranked_global_values()
sorted_global_importance_names = global_explanation.get_ranked_global_names()
dict(zip(sorted_global_importance_names, sorted_global_importance_values))

# alternatively, you can print out a dictionary that holds the top K feature names and values
global_explanation.get_feature_importance_dict()
global_explanation  # here: this is what shows the picture

# %%
# Explain single predictions.

# get explanation for the first data point in the test set
local_explanation = explainer.explain_local(x_test[0:5])

# sorted feature importance values and feature names
sorted_local_importance_names = local_explanation.get_ranked_local_names()
sorted_local_importance_values = local_explanation.get_ranked_local_values()
local_explanation  # here

# %%
# The same with a surrogate, which warns that it does not follow this model well enough: see its
# ``fidelity``.

from service.explainers import MimicExplainer  # here

# you can use one of the following four interpretable models as a global surrogate to the black box model

from service.explainers import LGBMExplainableModel  # here
from service.explainers import LinearExplainableModel  # here
from service.explainers import SGDExplainableModel  # here
from service.explainers import DecisionTreeExplainableModel  # here

# "features" and "classes" fields are optional
# augment_data is optional and if true, oversamples the initialization examples to improve surrogate model accuracy to fit original model.  Useful for high-dimensional data where the number of rows is less than the number of columns.
# max_num_of_augmentations is optional and defines max number of times we can increase the input data size.
# LGBMExplainableModel can be replaced with LinearExplainableModel, SGDExplainableModel, or DecisionTreeExplainableModel
explainer = MimicExplainer(model,
                           x_train,
                           LGBMExplainableModel,
                           augment_data=True,
                           max_num_of_augmentations=10,
                           features=breast_cancer_data.feature_names,
                           classes=classes)
global_explanation = explainer.explain_global(x_test)
global_explanation  # here

# %%
# And by permutations.

from service.explainers import PFIExplainer  # here

# "features" and "classes" fields are optional
explainer = PFIExplainer(model,
                         features=breast_cancer_data.feature_names,
                         classes=classes)

# if you used the PFIExplainer in the previous step, use the next line of code instead
global_explanation = explainer.explain_global(x_train, true_labels=y_train)
global_explanation  # here

# %%
# Raw features, in the first form. The page has no data for it: these are of flats.

import numpy as np
import pandas as pd

random = np.random.default_rng(0)
x_train = pd.DataFrame({
    "town": random.choice(["Bern", "Chur", "Zug"], 300),
    "heating": random.choice(["gas", "wood", None], 300),
    "area": random.uniform(25, 140, 300).round(),
    "built": random.choice([1900.0, 1950.0, 2000.0, np.nan], 300),
})
x_test, y_train = x_train[:20], x_train["area"] * np.where(x_train["town"] == "Zug", 2, 1) > 90
numeric_features = numerical = ["area", "built"]
categorical_features = categorical = ["town", "heating"]
dataset_feature_names, dataset_classes = list(x_train.columns), ["cheap", "dear"]

from sklearn.pipeline import Pipeline
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler, OneHotEncoder
from sklearn.linear_model import LogisticRegression

from sklearn.compose import ColumnTransformer

numeric_transformer = Pipeline(steps=[
    ('imputer', SimpleImputer(strategy='median')),
    ('scaler', StandardScaler())])

categorical_transformer = Pipeline(steps=[
    ('imputer', SimpleImputer(strategy='constant', fill_value='missing')),
    ('onehot', OneHotEncoder(handle_unknown='ignore'))])

preprocessor = ColumnTransformer(
    transformers=[
        ('num', numeric_transformer, numeric_features),
        ('cat', categorical_transformer, categorical_features)])

# append classifier to preprocessing pipeline.
# now we have a full prediction pipeline.
clf = Pipeline(steps=[('preprocessor', preprocessor),
                      ('classifier', LogisticRegression(solver='lbfgs'))])
clf.fit(x_train, y_train)  # here: nothing is fitted again


# clf.steps[-1][1] returns the trained classification model
# pass transformation as an input to create the explanation object
# "features" and "classes" fields are optional
tabular_explainer = TabularExplainer(clf.steps[-1][1],
                                     initialization_examples=x_train,
                                     features=dataset_feature_names,
                                     classes=dataset_classes,
                                     transformations=preprocessor)
tabular_explainer.explain_global(x_test)  # here

# %%
# In the second form, a list. sklearn-pandas cannot be imported beside scikit-learn 1.6 and later, and
# the encoder's ``sparse`` is ``sparse_output`` since 1.2.

from sklearn.pipeline import Pipeline
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler, OneHotEncoder
from sklearn.linear_model import LogisticRegression
from service.explainers import DataFrameMapper  # here

# assume that we have created two arrays, numerical and categorical, which holds the numerical and categorical feature names

numeric_transformations = [([f], Pipeline(steps=[('imputer', SimpleImputer(
    strategy='median')), ('scaler', StandardScaler())])) for f in numerical]

categorical_transformations = [([f], OneHotEncoder(
    handle_unknown='ignore', sparse_output=False)) for f in categorical]  # here

transformations = numeric_transformations + categorical_transformations

# append model to preprocessing pipeline.
# now we have a full prediction pipeline.
clf = Pipeline(steps=[('preprocessor', DataFrameMapper(transformations)),
                      ('classifier', LogisticRegression(solver='lbfgs'))])
clf.fit(x_train, y_train)  # here

# clf.steps[-1][1] returns the trained classification model
# pass transformation as an input to create the explanation object
# "features" and "classes" fields are optional
tabular_explainer = TabularExplainer(clf.steps[-1][1],
                                     initialization_examples=x_train,
                                     features=dataset_feature_names,
                                     classes=dataset_classes,
                                     transformations=transformations)
tabular_explainer.explain_local(x_test[:1])  # here

# %%
# At scoring time. What the page uploads to a registry is the one file; here it stays where it is.

import os

model, explainer = clf.steps[-1][1], tabular_explainer  # here: of the last explainer
from service.scoring import KernelScoringExplainer, save  # here

# create a lightweight explainer at scoring time
scoring_explainer = KernelScoringExplainer(explainer)

# pickle scoring explainer
# pickle scoring explainer locally
OUTPUT_DIR = 'my_directory'
save(scoring_explainer, directory=OUTPUT_DIR, exist_ok=True)

# %%
# In the entry script: raw rows in, predictions and raw importances out.

from service.scoring import load  # here

# load scoring explainer from disk
scoring_explainer = load(os.path.join(OUTPUT_DIR, 'scoring_explainer.pkl'))  # here

# test scoring explainer locally
preds = scoring_explainer.explain(x_test)
print(np.round(preds, 3)[1, :2])  # here: two rows of the second class

original_model = clf  # here


def run(raw_data):
    # get predictions and explanations for each data point
    data = scoring_explainer.read_rows(raw_data)  # here: checked against the columns
    # make prediction
    predictions = original_model.predict(data)
    # retrieve model explanations
    local_importance_values = scoring_explainer.explain(data)
    # you can return any data type as long as it is JSON-serializable
    return {'predictions': predictions.tolist(), 'local_importance_values': local_importance_values}


# create data to test service with
examples = x_test[:4]  # here: a DataFrame's rows
input_data = examples.to_json()
print(run(input_data)['predictions'])  # here: without a service in between
