"""Permutation importance: how much worse a metric gets when a column is permuted.

``metrics``           which metric is meant by a name, and whether more of it is better
``asked_models``      models in the form in which metrics ask them
``labels``            true labels, held against rows and model
``expected_columns``  rows in the order of the columns that a model expects
``permuted_rows``     rows whose columns are permuted one by one
``explainer``         PFIExplainer, what a user holds

Next: :mod:`service.explainers.pfi.metrics`.
"""

from service.explainers.pfi.explainer import PFIExplainer

__all__ = ["PFIExplainer"]
