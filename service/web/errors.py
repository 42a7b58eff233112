"""What can go wrong in the web service.

::

    WebError
    ├── EntryScriptError   the user's script cannot be loaded, or its init() failed
    └── RequestError       a request that is not answered as it is; its message is safe for clients
        ├── BodyError      its body is empty, no text, or not what the route takes
        ├── MediaTypeError its body has a form that nobody reads here
        ├── NotAcceptableError  its answer is wanted in a form that nobody writes here
        ├── UnauthorizedError  it has no valid key
        ├── NoModelError   it asks for a model of another name
        ├── SlowBodyError  its body did not arrive in time
        ├── BusyError      too many others are in flight
        ├── DeadlineError  its answer would come too late
        └── StoppingError  its answer would come after the end of this process

The first ends the start of the process, as :class:`service.settings.SettingsError` does. The table
in `service.web.error_responses` gives the statuses of the others.

Next: `service.web.request_records`.
"""


class WebError(Exception):
    """Base of every error that `service.web` raises on purpose."""


class EntryScriptError(WebError):
    """The entry script cannot be loaded or started."""


class RequestError(WebError):
    """A request that is refused; the message is safe for clients."""


class BodyError(RequestError):
    """The body of a request cannot be handed to the entry script."""


class MediaTypeError(RequestError):
    """The body of a request is declared to be something that is not read here."""


class NotAcceptableError(RequestError):
    """A request wants its answer in a form that is not written here."""


class UnauthorizedError(RequestError):
    """A request has no valid key."""


class NoModelError(RequestError):
    """A request asks for a model of another name."""


class SlowBodyError(RequestError):
    """The body of a request did not arrive in time."""


class BusyError(RequestError):
    """Too many requests are in flight."""


class DeadlineError(RequestError):
    """The answer would come too late."""


class StoppingError(RequestError):
    """The process ends before the answer would be there."""
