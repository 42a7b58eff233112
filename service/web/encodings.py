"""The bytes of a body as text: unpacked as Content-Encoding says, decoded as the charset says.

Next: :mod:`service.web.protocols`.
"""

import codecs
import re
import zlib

from werkzeug.exceptions import RequestEntityTooLarge

from service.web.errors import BodyError, MediaTypeError

OTHERS = {"br", "zstd", "compress", "bzip2", "lz4", "snappy"}  # encodings that are named, not read
UTF_8 = "utf-8"
GZIP, ZLIB, RAW = 31, 15, -15  # zlib's names for its formats
# Python knows codecs that are no charsets; these are, by its own names.
CHARSETS = re.compile(
    "(utf-8|utf-16|utf-32|ascii|iso8859|cp[0-9]|koi8|mac-|shift_jis|euc_|iso2022|gb|big5)"
)
# How files begin that are often sent by mistake, and what to do.
_BEGINNINGS = {
    b"PAR1": "Parquet; send JSON, CSV or JSON Lines, or score files by python -m service score",
    b"\x93NUMPY": "an array of NumPy's; send JSON, CSV or JSON Lines",
    b"ARROW1": "Arrow; send JSON, CSV or JSON Lines",
    b"PK\x03\x04": "a ZIP archive or a workbook; send JSON, CSV or JSON Lines",
    b"\x1f\x8b": "gzip; declare it by Content-Encoding: gzip",
    b"\xff\xfe": "UTF-16; declare it by charset=utf-16 in the Content-Type",
    b"\xfe\xff": "UTF-16; declare it by charset=utf-16 in the Content-Type",
}


def unpacked(body: bytes, encoding: str, largest: int) -> bytes:
    """Unpack a body.

    Parameters
    ----------
    body : bytes
    encoding : str
        Content-Encoding: "gzip" and "deflate", several with commas between them.
    largest : int
        The most bytes that are made of it.

    Raises
    ------
    MediaTypeError
        When it is packed in another way.
    BodyError
        When it is not what it is said to be, or ends too early.
    RequestEntityTooLarge
        When it is larger than that; no more is unpacked.

    Examples
    --------
    >>> import gzip
    >>> unpacked(gzip.compress(b"[[1]]"), "gzip", 100)
    b'[[1]]'
    """
    for name in reversed(list(map(str.strip, encoding.lower().split(",")))):
        if name not in _UNPACKERS:
            came = (OTHERS & {name} or {"another one"}).pop()
            raise MediaTypeError(
                f"Content-Encoding: expected gzip, deflate or none, got {came}; pack the body so, "
                "or send it as it is."
            )
        body = _UNPACKERS[name](body, largest)
    return body


def _as_it_is(body: bytes, largest: int) -> bytes:
    return body


def _of_gzip(body: bytes, largest: int) -> bytes:
    return _inflated(body, GZIP, largest)


def _of_deflate(body: bytes, largest: int) -> bytes:
    """Unpack zlib's own format, which deflate should be, or the bare one that some send."""
    beginning = int.from_bytes(body[:2], "big")
    is_whole = beginning % 31 == 0 and beginning & 0x0F00 == 0x0800
    return _inflated(body, ZLIB if is_whole else RAW, largest)


def _inflated(body: bytes, form: int, largest: int) -> bytes:
    parts, left = [], largest
    while body:  # gzip may have several members, one behind the other
        unpacker = zlib.decompressobj(form)
        try:
            parts.append(unpacker.decompress(body, left + 1))
        except zlib.error:
            raise BodyError("Body: expected it packed as Content-Encoding says.") from None
        left -= len(parts[-1])
        if left < 0:
            raise RequestEntityTooLarge
        if not unpacker.eof:
            raise BodyError("Body: expected all of what is packed, but it ends too early.")
        body = unpacker.unused_data
    return b"".join(parts)


_UNPACKERS = {
    "": _as_it_is,
    "identity": _as_it_is,
    "gzip": _of_gzip,
    "x-gzip": _of_gzip,
    "deflate": _of_deflate,
}


def decoded(body: bytes, charset: str | None) -> str:
    """Decode a body.

    Parameters
    ----------
    body : bytes
    charset : str or None
        The parameter of the Content-Type, by default UTF-8; with or without the byte order mark
        that Windows tools put first.

    Raises
    ------
    MediaTypeError
        When there is no such charset, or the body is no text but a file of a known kind.
    BodyError
        When it is not in that charset.

    Examples
    --------
    >>> decoded("[1]".encode("utf-16"), "UTF-16")
    '[1]'
    """
    name = _codec(charset or UTF_8)
    try:
        return body.removeprefix(codecs.BOM_UTF8 if name == UTF_8 else b"").decode(name)
    except UnicodeDecodeError as error:
        _refuse_known_file(body)
        shown = name.upper().removesuffix("-SIG")
        raise BodyError(
            f"Body: expected text in {shown}, but byte {error.start} is not {shown}; send it as "
            "UTF-8, or declare what it is in, as in Content-Type: text/csv; charset=iso-8859-1."
        ) from error


def _refuse_known_file(body: bytes) -> None:
    beginning = next(filter(body.startswith, _BEGINNINGS), None)
    if beginning is not None:
        raise MediaTypeError(f"Body: expected text, got {_BEGINNINGS[beginning]}.") from None


def _codec(charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        name = ""
    if not CHARSETS.match(name):
        raise MediaTypeError(
            "Content-Type: expected a charset that is known here, such as utf-8, utf-16 or "
            "iso-8859-1, got another; send UTF-8."
        )
    return name
