"""What an explainer answers.

``explanation``  local and global explanations, with ranked names and values

Next: :mod:`service.explanations.explanation`.
"""

from service.explanations.explanation import GlobalExplanation, LocalExplanation

__all__ = ["GlobalExplanation", "LocalExplanation"]
