"""The settings of the service: the one place that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.web.errors import SettingsError


@dataclass(frozen=True)
class Settings:
    """Everything that can be set about the service; a default stands for each.

    Parameters
    ----------
    entry_script : Path
        The Python file that defines ``init()`` and ``run(raw_data)`` (``ENTRY_SCRIPT``).
    host : str
        The address to listen on (``HOST``). In a container: ``0.0.0.0``.
    port : int
        The port to listen on (``PORT``).
    workers : int
        How many processes answer (``WORKERS``).
    threads : int
        How many requests each of them answers at once (``THREADS``).
    max_content_length : int
        The largest body accepted, in bytes (``MAX_CONTENT_LENGTH``).
    """

    entry_script: Path = Path("score.py")
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    threads: int = 4
    max_content_length: int = 16 * 2**20

    @property
    def bind(self) -> str:
        """Address and port as gunicorn takes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from environment variables; an unset or empty one leaves the default.

        Parameters
        ----------
        environ : Mapping[str, str], optional
            What to read in place of the environment of this process.

        Raises
        ------
        SettingsError
            When a value cannot be used; the message names the variable.
        """
        environ = os.environ if environ is None else environ
        return cls(
            entry_script=Path(environ.get("ENTRY_SCRIPT") or cls.entry_script),
            host=environ.get("HOST") or cls.host,
            port=_whole_number(environ, "PORT", cls.port, largest=65535),
            workers=_whole_number(environ, "WORKERS", cls.workers),
            threads=_whole_number(environ, "THREADS", cls.threads),
            max_content_length=_whole_number(environ, "MAX_CONTENT_LENGTH", cls.max_content_length),
        )


def _whole_number(environ: Mapping[str, str], name: str, default: int, largest: int = 2**31 - 1) -> int:
    text = environ.get(name) or str(default)
    # str.isdecimal would take Arabic digits too, and int() "8_080" and "-1".
    digits = text.strip()
    if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(largest)) and 1 <= int(digits) <= largest:
        return int(digits)
    raise SettingsError(
        f"{name}: expected a whole number from 1 to {largest}, got {text!r}; correct or unset this environment variable"
    )
