"""Sums of decision trees: their exact Shapley values, and their game behind a link.

A leaf is reached when every feature on its path satisfies all its splits there. For a row x and a
background row b let V be the path's features that x breaks and U those that b breaks. If a feature
is broken by both, no hybrid row reaches the leaf; otherwise a feature of U has the Shapley value
(|U|−1)! |V|! / (|U|+|V|)! and one of V has −|U|! (|V|−1)! / (|U|+|V|)!.

Source of the game: Lundberg et al., "From local explanations to global understanding with
explainable AI for trees" (2020), algorithm 3. shap 0.51 computes it with thresholds and leaf values
rounded to float32: a row whose value lies close to a threshold can go the wrong way (seen: 0.77 on
a margin of 7), which is why the evaluation is our own.

``forest``     all trees side by side, level by level
``division``   parts of trees whose leaves are met together
``patterns``   exact values from what background rows have in common
``traversal``  exact values by following paths, for trees of any depth and width
``cutting``    trees cut so far that all examples can be met, and what that leaves over
``sampled``    that estimated from a sample of the background, with standard errors
``curves``     the link of a sum of Shapley values, a control of what is behind the link of trees
``linked``     trees behind a link, as in boosted probabilities; the model is not called

Next: :mod:`service.shapley.trees.forest`.
"""

from service.shapley.trees.forest import Forest, Tree
from service.shapley.trees.linked import LinkedTreeGame
from service.shapley.trees.patterns import TreeGame, affordable_rows, count_patterns
from service.shapley.trees.sampled import SampledTreeGame
from service.shapley.trees.traversal import TraversedTreeGame

__all__ = [
    "Forest",
    "LinkedTreeGame",
    "SampledTreeGame",
    "TraversedTreeGame",
    "Tree",
    "TreeGame",
    "affordable_rows",
    "count_patterns",
]
