"""Sparse rows and examples, without a dense table of all of them.

``examples``     examples that are too many to be all dense
``importances``  a constant row for each output, and what differs from it
``additive``     how they come about where a feature's importance depends on its own value alone
``blocks``       how they come about where most features have no influence, as in trees

Next: :mod:`service.engines.sparse.importances`.
"""
