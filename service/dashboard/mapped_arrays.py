"""Arrays of ``.npy`` and ``.npz`` files as the pages of these files: workers share the memory.

Numpy maps ``.npy`` alone. In an ``.npz`` that is not compressed each array lies as it is, behind
the heading of its part. Next: :mod:`service.dashboard.values`.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ArtifactError

N_MAGIC = 8  # bytes that say that an array begins, and the version of its heading
LENGTH_BYTES = {(1, 0): 2, (2, 0): 4}  # of the length of the heading, by that version
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
        self._content = np.memmap(file, np.uint8, "r")
        self._starts = {name: 0}
        if file.suffix == ".npz":
            self._starts = dict(_starts_of_parts(file))
        self._found: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return an array.

        Raises
        ------
        KeyError
            When there is none of that name.
        ArtifactError
            When it is one of objects.
        """
        if name not in self._found:
            self._found[name] = _take_array(self._content, self._starts[name])
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        """Name the arrays."""
        return iter(self._starts)

    def __len__(self) -> int:
        """Count the arrays."""
        return len(self._starts)


def _take_array(content: np.memmap[Any, Any], start: int) -> NDArray[Any]:
    """Return the array that begins, with its heading, at a byte of a file.

    Raises
    ------
    ArtifactError
        When it is one of objects, or none.
    """
    place = content.filename
    try:
        version = np.lib.format.read_magic(io.BytesIO(content[start : start + N_MAGIC].tobytes()))
        n_length = LENGTH_BYTES[version]
        begin = start + N_MAGIC
        told = content[begin : begin + n_length].tobytes()
        end = begin + n_length + int.from_bytes(told, "little")
        shape, is_fortran, dtype = READ_HEADING[version](io.BytesIO(content[begin:end].tobytes()))
    except (ValueError, KeyError) as error:
        raise ArtifactError(f"{place}: expected an array, got something else ({error}).") from error
    if dtype.hasobject:
        raise ArtifactError(f"{place}: expected an array of numbers or texts, got objects.")
    n_bytes = dtype.itemsize * math.prod(shape)
    if n_bytes == 0:
        return np.empty(shape, dtype)
    order: Any = "F" if is_fortran else "C"
    return content[end : end + n_bytes].view(dtype).reshape(shape, order=order)


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
