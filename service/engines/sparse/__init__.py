"""Importances of sparse rows, without a dense table of them.

``importances``  a constant row for each output, and what differs from it
``additive``     how they come about where a feature's importance depends on its own value alone

Next: :mod:`service.engines.sparse.importances`.
"""
