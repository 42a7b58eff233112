"""Models that answer with what they make of the answers of several models of any kind.

``parts``          sums of models, and a link behind several of them
``stacking``       voting and stacking
``side_by_side``   one model for each target, or for each class
``boosted_votes``  AdaBoost

Next: :mod:`service.structures.combined.parts`.
"""
