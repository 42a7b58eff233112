"""Models that can only be called.

In reading order:

``cost``  what a row of the model costs, and whether that is next to nothing

Next: :mod:`service.engines.called.cost`.
"""
