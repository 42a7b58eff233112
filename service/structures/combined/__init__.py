"""Models that answer with what they make of the answers of several models of any kind.

``parts``     sums of models, and a link behind several of them
``stacking``  voting and stacking

Next: :mod:`service.structures.combined.parts`.
"""
