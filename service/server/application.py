"""The application that gunicorn serves.

Gunicorn imports this module after it has made the environment of the libraries.

Next: `service.server.worker`.
"""

from flask import Flask

from service.server.process import lifecycle, load, metrics_folder, replica, settings
from service.web.app import create_app_or_exit


def application() -> Flask:
    """Make the application and score the recorded example, in the process that will answer.

    Returns
    -------
    Flask
        What :func:`service.web.app.create_app` makes, which knows of the end of this service.

    Raises
    ------
    SystemExit
        With one sentence on what is wrong.
    """
    return create_app_or_exit(settings, lifecycle, metrics_folder.path, replica, load)
