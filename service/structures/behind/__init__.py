"""Estimators behind steps that mix columns: such steps become a part of what comes after them.

``maps``     linear maps, as PCA, before a model that begins with scalar products
``terms``    polynomial terms before a linear model
``pipeline`` which of the two a pipeline's steps are

Next: :mod:`service.structures.behind.maps`.
"""
