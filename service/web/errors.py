"""What can go wrong in the web service.

::

    WebError
    ├── SettingsError      a variable of the environment has a value that cannot be used
    ├── EntryScriptError   the user's script cannot be loaded, or its init() failed
    └── BodyError          a request's body is empty or is not text

The first two end the start of the process; the last one is the client's to mend. The table in `service.web.refusals`
gives the statuses.
"""


class WebError(Exception):
    """Base of every error that `service.web` raises on purpose."""


class SettingsError(WebError):
    """A setting has a value that cannot be used."""


class EntryScriptError(WebError):
    """The entry script cannot be loaded or started."""


class BodyError(WebError):
    """The body of a request cannot be handed to the entry script; the message is safe for clients."""
