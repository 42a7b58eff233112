"""The wiring of the web service: settings in, a Flask application out. Next:
`service.web.scoring`.
"""

import traceback

from flask import Flask

from service.errors import ScoringError
from service.settings import Settings
from service.web.entry_script import EntryScript
from service.web.errors import WebError
from service.web.keys import Keys
from service.web.limits import Gate
from service.web.metrics import Metrics
from service.web.observation import observe
from service.web.protocols import PROTOCOLS
from service.web.refusals import register_refusals
from service.web.scoring import Scoring


def create_app(settings: Settings) -> Flask:
    """Load the entry script, call its ``init()`` and put the routes around it.

    Parameters
    ----------
    settings : Settings
        Which script, and the limits. Host, port, workers and threads are gunicorn's.

    Returns
    -------
    Flask
        An application that is ready to score. ``app.extensions["warm_up"]`` is to be called in each process before;
        ``app.extensions["metrics"]`` counts what never reaches a route.

    Raises
    ------
    EntryScriptError
        When the script cannot be loaded or its ``init()`` fails: a service without it would be of
        no use.
    SettingsError
        When the file with the keys cannot be used.
    """
    keys = Keys(settings.keys_file)
    script = EntryScript(settings.entry_script)
    script.init()
    metrics = Metrics(settings.model_name, script.model)
    scoring = Scoring(script, settings, Gate(settings.n_in_flight, settings.n_slots), keys, metrics)
    app = Flask("service.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    app.extensions["warm_up"] = script.warm_up
    app.extensions["metrics"] = metrics
    observe(app, metrics, settings.deadline)
    for routes in PROTOCOLS:
        app.register_blueprint(routes(scoring))
    register_refusals(app)
    return app


def from_environment() -> Flask:
    """Make the application that gunicorn serves, or end the process with one sentence on what is
    wrong.
    """
    try:
        return create_app(Settings.from_environment())
    except WebError as error:
        _show_cause(error)
        raise SystemExit(str(error)) from None


def _show_cause(error: WebError) -> None:
    # Errors of service.scoring say what is wrong and what to do; any other is a fault in the
    # script: show where.
    if error.__cause__ is not None and not isinstance(error.__cause__, ScoringError):
        traceback.print_exception(error.__cause__)
