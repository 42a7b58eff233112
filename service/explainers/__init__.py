"""The training side: a full explainer in the notebook, and the explanations it gives.

``tabular``      TabularExplainer: explains a fitted model on tabular data, locally and globally
``explanation``  the objects it answers with: ranked names and values, per class and overall

Nothing here is needed to score: :class:`service.scoring.KernelScoringExplainer` takes what it needs
along. Next: :mod:`service.explainers.tabular`.
"""

from service.explainers.tabular import TabularExplainer
from service.explanations.explanation import GlobalExplanation, LocalExplanation

__all__ = ["GlobalExplanation", "LocalExplanation", "TabularExplainer"]
