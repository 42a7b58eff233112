"""Ratios against peers, measured in one run: ``make bench``. Next: :mod:`benchmarks.cases`.

One thread for every numerical library. The variables must be set before numpy is imported, and so
they stand here.
"""

import os

for _variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ.setdefault(_variable, "1")
