"""Arrays of ``.npy`` and ``.npz`` files as the pages of these files: workers share the memory.

Numpy maps ``.npy`` alone. In an ``.npz`` that is not compressed each array lies as it is, behind
the heading of its part. Next: :mod:`service.dashboard.values`.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ArtifactError

LOCAL_HEADING = struct.Struct("<26xHH")  # lengths of the name and of the extra field
READ_HEADING = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class MappedArrays(Mapping[str, NDArray[Any]]):
    """The arrays of one file, by name, mapped when they are asked for.

    Parameters
    ----------
    file : Path
        A ``.npz`` without compression; or a ``.npy``, whose only array has the name `name`.
    name : str, default "values"

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> file = Path(mkdtemp()) / "arrays.npz"
    >>> np.savez(file, a=np.arange(3), b=np.ones(2))
    >>> arrays = MappedArrays(file)
    >>> sorted(arrays), arrays["a"].tolist(), isinstance(arrays["a"], np.memmap)
    (['a', 'b'], [0, 1, 2], True)
    """

    def __init__(self, file: Path, name: str = "values") -> None:
        self._file = file
        self._starts = {name: 0}
        if file.suffix == ".npz":
            self._starts = dict(_starts_of_parts(file))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Map an array.

        Raises
        ------
        KeyError
            When there is none of that name.
        ArtifactError
            When it is one of objects.
        """
        return map_array(self._file, self._starts[name])

    def __iter__(self) -> Iterator[str]:
        """Name the arrays."""
        return iter(self._starts)

    def __len__(self) -> int:
        """Count the arrays."""
        return len(self._starts)


def map_array(file: Path, start: int = 0) -> NDArray[Any]:
    """Map the array that begins, with its heading, at a byte of a file.

    Parameters
    ----------
    file : Path
    start : int, default 0

    Returns
    -------
    ndarray
        Read-only.

    Raises
    ------
    ArtifactError
        When it is one of objects, or none.
    """
    with file.open("rb") as opened:
        opened.seek(start)
        try:
            heading = READ_HEADING[np.lib.format.read_magic(opened)](opened)
        except (ValueError, KeyError) as error:
            raise ArtifactError(f"{file}: expected an array, got something else ({error}).") from (
                error
            )
        shape, is_fortran, dtype = heading
        if dtype.hasobject:
            raise ArtifactError(f"{file}: expected an array of numbers or texts, got objects.")
        order: Any = "F" if is_fortran else "C"
        if 0 in shape:
            return np.empty(shape, dtype, order)
        return np.memmap(file, dtype, "r", opened.tell(), shape, order)


def _starts_of_parts(file: Path) -> Iterator[tuple[str, int]]:
    """Tell where the content of each part begins."""
    with zipfile.ZipFile(file) as archive, file.open("rb") as opened:
        for part in archive.infolist():
            if part.compress_type != zipfile.ZIP_STORED:
                raise ArtifactError(
                    f"{file}: expected arrays that are not compressed, got {part.filename} "
                    "compressed; save the explanation again."
                )
            opened.seek(part.header_offset)
            n_name, n_extra = LOCAL_HEADING.unpack(opened.read(LOCAL_HEADING.size))
            start = part.header_offset + LOCAL_HEADING.size + n_name + n_extra
            yield part.filename.removesuffix(".npy"), start
