"""Truth values of many rows, 64 to a word.

Next: :mod:`service.shapley.kernels.quadrature`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def pack_words(truths: NDArray[np.bool_]) -> Words:
    """Pack truth values, (n, n_rows) to (n, n_words); the first row is the lowest bit."""
    n, n_rows = truths.shape
    bits = np.zeros((n, -(-n_rows // 64) * 8), dtype=np.uint8)
    # Where the rows of a split are not side by side, NumPy takes fifty times as long.
    packed = np.packbits(np.ascontiguousarray(truths), axis=1, bitorder="little")
    bits[:, : packed.shape[1]] = packed
    return bits.view("<u8")


def unpack_words(words: Words) -> NDArray[np.uint8]:
    """Unpack words, (n, n_words) to zeros and ones of shape (n, 64 · n_words)."""
    bits = np.ascontiguousarray(words).astype("<u8").view(np.uint8)
    return np.unpackbits(bits, axis=1, bitorder="little")
