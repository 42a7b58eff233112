"""A Unix socket at which this service answers for itself, among the replicas behind one port.

The parent opens it and its workers take connections from it, so it refuses whoever asks as soon as
all of them have ended, and not before. Each start has a name of its own, as it has its own counts.

Next: `service.server.application`.
"""

import socket
import uuid
from pathlib import Path

SUFFIX = ".replica"
WAITING = 64  # who asks at the same moment


def open_socket(folder: Path | None) -> tuple[Path | None, list[socket.socket]]:
    """Open the socket in the folder that the replicas share.

    Returns
    -------
    Path or None
        Where it is; None where this service is alone.
    list of socket
        The socket, if there is one.

    Raises
    ------
    SystemExit
        With one sentence, when it cannot be opened there.
    """
    if folder is None:
        return None, []
    name = folder / uuid.uuid4().hex
    path = name.with_suffix(SUFFIX)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(name))
        listener.listen(WAITING)
        name.rename(path)  # where it is found it listens
    except OSError as error:
        raise SystemExit(
            f"REPLICAS_FOLDER: expected a folder for sockets at {folder}, but {error}; correct or "
            "unset this environment variable"
        ) from None
    return path, [listener]
