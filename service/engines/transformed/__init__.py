"""Models behind transformations, explained by the columns that these make.

``engineered``  explains raw rows by their engineered columns
``raw_rows``    tells raw rows from engineered ones

Next: :mod:`service.engines.transformed.engineered`.
"""
