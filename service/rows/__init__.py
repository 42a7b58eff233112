"""What a row is, and one reader for each format that rows come in.

``values``        one value, by the kind of its column
``categories``    the categories of a column, and how they are written
``kinds``         what a column of each kind does with a value
``columns``       one column, and the check of all its values
``schema``        the columns of the examples, and the check of every row against them
``tables``        what holds rows in other libraries
``unusual_rows``  new categories and missing values, and whether the model takes them
``json_rows``     rows as JSON, in any of the shapes that clients send
``row_ids``       what tells rows apart, beside what the model knows
``tensors``       rows as tensors in JSON, for the Open Inference Protocol
``chunks``        rows of a file some at a time
``csv_rows``      rows as CSV, of a request or a file
``json_lines``    rows as JSON Lines, of a request or a file
``parquet_rows``  rows of Parquet files
``files``         which kind of file is read how

Next: :mod:`service.rows.values`.
"""
