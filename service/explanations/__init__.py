"""What an explainer answers.

``ranks``               the order of importances
``context``             what is known beside the numbers
``global_importances``  global importances as arrays
``local_explanation``   local explanations, with ranked names and values
``global_explanation``  global explanations, with ranked names and values

Next: :mod:`service.explanations.ranks`.
"""

from service.explanations.context import ExplanationContext
from service.explanations.global_explanation import GlobalExplanation
from service.explanations.global_importances import GlobalImportances
from service.explanations.local_explanation import LocalExplanation

__all__ = ["ExplanationContext", "GlobalExplanation", "GlobalImportances", "LocalExplanation"]
