"""Bearer keys: one or two, so that they can be rotated.

Their file is read again when it changes.

Next: `service.web.request_limits`.
"""

import hmac
from pathlib import Path

from service.settings import SettingsError
from service.web.errors import UnauthorizedError

MOST_KEYS = 2


class Keys:
    """Checks the ``Authorization`` header of requests.

    Parameters
    ----------
    file : Path or None
        One or two keys, a line each. None lets everybody in.

    Raises
    ------
    SettingsError
        When the file holds no key, or more than two.

    Examples
    --------
    >>> Keys(None).check(None)
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._keys = [] if file is None else _read(file)
        self._changed = None if file is None else _change(file)

    def check(self, authorization: str | None) -> None:
        """Refuse a request without one of the keys.

        Parameters
        ----------
        authorization : str or None
            The header, in WSGI's latin-1.

        Raises
        ------
        UnauthorizedError
            Unless it is ``Bearer`` with one of the keys.
        """
        if self._file is None:
            return
        scheme, _, key = (authorization or "").partition(" ")
        given = key.strip(" \t").encode("latin-1", "replace")  # WSGI gives the bytes of a header so
        # Every key is compared, in a time that does not depend on where they differ.
        matches = [hmac.compare_digest(given, known) for known in self._current(self._file)]
        if scheme.lower() != "bearer" or not any(matches):
            raise UnauthorizedError(
                "Expected the header 'Authorization: Bearer <key>' with a valid key."
            )

    def _current(self, file: Path) -> list[bytes]:
        """Read the file again if it has changed.

        Half a file, or none, leaves the keys as they were.
        """
        try:
            changed = _change(file)
            if changed != self._changed:
                self._keys, self._changed = _read(file), changed
        except (OSError, SettingsError):
            pass
        return self._keys


def _change(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(file: Path) -> list[bytes]:
    keys = [line.strip() for line in file.read_bytes().splitlines() if line.strip()]
    if not 1 <= len(keys) <= MOST_KEYS:
        raise SettingsError(
            f"AUTH_KEYS_FILE: expected one or two keys, a line each, in {file}, got {len(keys)}"
        )
    return keys
