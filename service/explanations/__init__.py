"""What an explainer answers.

``ranks``               the order of importances
``context``             what is known beside the numbers
``moments``             sums over rows
``global_importances``  global importances as arrays
``frames``              tables of pandas, and shap's objects
``drawing``             pieces of a picture, as SVG
``pictures``            what a notebook shows of an explanation
``plots``               plots, where matplotlib is installed
``given_values``        importances that were computed elsewhere
``raw_features``        from made columns to raw ones
``local_explanation``   local explanations, with ranked names and values
``global_explanation``  global explanations, with ranked names and values
``top_features``        the most important features alone
``files``               saving and loading them in an open format
``batches``             global importances of more rows than fit into memory

Next: :mod:`service.explanations.ranks`.
"""

from service.explanations.context import ExplanationContext
from service.explanations.files import load_explanation, save_explanation
from service.explanations.global_explanation import GlobalExplanation
from service.explanations.global_importances import GlobalImportances
from service.explanations.local_explanation import LocalExplanation
from service.explanations.top_features import top

__all__ = [
    "ExplanationContext",
    "GlobalExplanation",
    "GlobalImportances",
    "LocalExplanation",
    "load_explanation",
    "save_explanation",
    "top",
]
