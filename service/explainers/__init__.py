"""The training side: full explainers, for the notebook in which a model is fitted.

``tabular``                 TabularExplainer: explains a fitted model on tabular data
``pieces``                  makes tables of rows that come in pieces
``transformations``         puts a model behind transformations, so that raw rows are explained
``listed_transformations``  reads transformations that are listed column by column
``mapper``                  DataFrameMapper: fits such a list, as sklearn-pandas did
``named``                   Tree-, Linear-, Kernel- and DeepExplainer: the engine is fixed
``mimic``                   MimicExplainer: explains a surrogate, and how well it follows the model
``pfi``                     PFIExplainer: how much worse a metric gets when a column is permuted

What they answer is in :mod:`service.explanations`; its classes can be imported from here as well.
Nothing here is needed to score: :class:`service.scoring.KernelScoringExplainer` takes what it needs
along. Next: :mod:`service.explainers.tabular`.
"""

from service.explainers.mapper import DataFrameMapper
from service.explainers.mimic import (
    DecisionTreeExplainableModel,
    LGBMExplainableModel,
    LinearExplainableModel,
    MimicExplainer,
    SGDExplainableModel,
)
from service.explainers.named import (
    DeepExplainer,
    KernelExplainer,
    LinearExplainer,
    TreeExplainer,
)
from service.explainers.pfi import PFIExplainer
from service.explainers.tabular import TabularExplainer
from service.explanations import (
    GlobalExplanation,
    LocalExplanation,
    load_explanation,
    save_explanation,
)

__all__ = [
    "DataFrameMapper",
    "DecisionTreeExplainableModel",
    "DeepExplainer",
    "GlobalExplanation",
    "KernelExplainer",
    "LGBMExplainableModel",
    "LinearExplainableModel",
    "LinearExplainer",
    "LocalExplanation",
    "MimicExplainer",
    "PFIExplainer",
    "SGDExplainableModel",
    "TabularExplainer",
    "TreeExplainer",
    "load_explanation",
    "save_explanation",
]
