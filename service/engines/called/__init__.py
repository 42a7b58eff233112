"""Models that can only be called.

In reading order:

``cost``          what a row of the model costs, and whether that is next to nothing
``reasons``       why a model is not looked into, in words
``note``          why it is called, what an explained row costs, and what would help
``foreign_code``  whose code an engine runs: whether several threads may ask it at once

Next: :mod:`service.engines.called.cost`.
"""
