"""Importances of sparse rows, without a dense table of them.

``importances``  a constant row for each output, and what differs from it
``additive``     how they come about where a feature's importance depends on its own value alone
``blocks``       how they come about where most features have no influence, as in trees

Next: :mod:`service.engines.sparse.importances`.
"""
