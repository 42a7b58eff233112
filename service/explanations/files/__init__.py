"""Explanations in files: an open format without pickles, which numpy and a JSON parser read.

A folder, or one ``.zip`` of it, with ``explanation.json`` and arrays as ``.npy``; it is whole when
``explanation.json`` is there, which is written last. Loading executes nothing.

``storage``         folders and zip files, and the digests of what lies in them
``replacing``       one explanation in the place of another, wholly or not at all
``packed_columns``  rows, labels and names of rows as plain arrays
``consistency``     whether a heading and its arrays are of one explanation
``content``         what lies in the files, from an explanation and back
``reference``       folders that interpret-community wrote
``saving``          saving and loading

Next: :mod:`service.explanations.files.storage`.
"""

from service.explanations.files.saving import load_explanation, save_explanation

__all__ = ["load_explanation", "save_explanation"]
