"""Surrogates: an interpretable model that is fitted to what another model answers, and explained.

``screening``           which of very many columns trees are fitted on
``explainable_models``  the kinds of surrogates, with their regressors
``hybrids``             the rows on which a surrogate must follow its teacher
``fidelity``            how well it follows
``surrogate_fit``       fitting, on as many hybrids as help most
``probabilities``       what is imitated where probabilities are asked for
``explainer``           MimicExplainer, what a user holds

Next: :mod:`service.explainers.mimic.screening`.
"""

from service.explainers.mimic.explainable_models import (
    DecisionTreeExplainableModel,
    LGBMExplainableModel,
    LinearExplainableModel,
    SGDExplainableModel,
)
from service.explainers.mimic.explainer import MimicExplainer

__all__ = [
    "DecisionTreeExplainableModel",
    "LGBMExplainableModel",
    "LinearExplainableModel",
    "MimicExplainer",
    "SGDExplainableModel",
]
