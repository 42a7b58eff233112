"""Bearer keys, in this process; tests/served/test_operations.py has them behind a server."""

import pytest

from service.settings import SettingsError
from service.web.errors import UnauthorizedError
from service.web.keys import Keys


@pytest.mark.parametrize("content", ["", "\n \n", "a\nb\nc\n"])
def test_one_or_two_keys_are_expected(tmp_path, content):
    """A file with none, or with three, is refused when the service starts, without showing a
    key.
    """
    file = tmp_path / "keys"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(
        SettingsError,
        match=r"AUTH_KEYS_FILE: expected one or two keys, a line each, in .*, got [03]",
    ):
        Keys(file)


def test_a_key_may_be_beyond_ascii(tmp_path):
    """Headers come as the bytes that they are, in WSGI's latin-1; line ends of Windows are none of
    the key.
    """
    file = tmp_path / "keys"
    file.write_bytes("schlüssel\r\nclé\r\n".encode())
    keys = Keys(file)
    for key in ("schlüssel", "clé"):
        keys.check(f"Bearer {key}".encode().decode("latin-1"))
    for wrong in ("Bearer schl\xfcssel", "Bearer €", "Bearer ", "", None):
        with pytest.raises(UnauthorizedError):
            keys.check(wrong)


def test_without_a_file_everybody_is_let_in():
    """No header is looked at."""
    Keys(None).check(None)


def test_half_a_file_changes_nothing(tmp_path):
    """A file that is emptied or taken away leaves the keys as they were; a whole one replaces them
    at once.
    """
    file = tmp_path / "keys"
    file.write_text("first\n", encoding="utf-8")
    keys = Keys(file)
    file.write_text("", encoding="utf-8")
    keys.check("Bearer first")
    file.unlink()
    keys.check("Bearer first")
    file.write_text("second\n", encoding="utf-8")
    keys.check("Bearer second")
    with pytest.raises(UnauthorizedError):
        keys.check("Bearer first")
