"""What is inside a fitted model, read into plain arrays: by family, each said in one place.

:func:`service.structures.reading.read_model` turns a model into an encoder, from raw columns to
those that the model's last step sees, and a structure, from these to the output that is explained.
Nothing here calls a model. LightGBM and XGBoost are read without being imported.

``class_names``      which class of which library an object is: all tables go by that
``searches``         searches, thresholds and frozen models, which hand everything on
``encoders``         preprocessing in which every column depends on one raw column
``links``            functions from margins to outputs
``answer_forms``     from what a classifier answers to one number per class
``structure``        what all structures have in common
``family``           what is said about some classes of a library
``linear``           linear models, and exponentials of them
``kernel_machines``  support vector machines, kernel ridge
``networks``         multilayer perceptrons
``foreign_networks`` networks of torch and Keras
``statistical``      naive Bayes, nearest neighbours, Gaussian processes, discriminants
``trees``            tree ensembles of any library
``sklearn_trees``    scikit-learn's trees, forests and boosting
``lightgbm_trees``   LightGBM's
``xgboost_trees``    XGBoost's
``behind``           linear maps and polynomial terms before a model
``combined``         voting, stacking, AdaBoost, one model for each class or target
``wrappers``         calibration, bagging, chains, transformed targets; the table of all that wraps
``reading``          all families, and how a model is read

A kind of model whose structure is there is added in the table of its family; a new family is added
to ``FAMILIES`` of :mod:`service.structures.reading` too. A new structure needs a function in
:mod:`service.engines.builders`, and a line of the choice that names it. Next:
:mod:`service.structures.class_names`.
"""
