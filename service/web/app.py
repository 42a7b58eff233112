"""The wiring of the web service: settings in, a Flask application out.

Next: `service.web.entry_script`.
"""

import traceback
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask

from service.errors import ArtifactError, ScoringError
from service.model_origin import check_files, read_origins
from service.settings import Settings, SettingsError
from service.web.computations import Computations
from service.web.entry_script import EntryScript
from service.web.error_responses import register_error_handlers
from service.web.errors import WebError
from service.web.guarded_script import GuardedScript
from service.web.keys import Keys
from service.web.lifecycle import Lifecycle
from service.web.metrics import Metrics
from service.web.protocols import PROTOCOLS
from service.web.protocols.cross_origin import allow_origins
from service.web.protocols.path_prefix import under_prefix
from service.web.request_limits import Gate, Load
from service.web.request_records import record_malformed, record_requests


def create_app(
    settings: Settings,
    lifecycle: Lifecycle | None = None,
    metrics_folder: Path | None = None,
    replica: Path | None = None,
    load: Load | None = None,
) -> Flask:
    """Load the entry script, call its ``init()``, score the example, and put the routes around it.

    This belongs into the process that answers, after any fork: what ``init()`` and a prediction
    start, threads above all, does not survive one.

    Parameters
    ----------
    settings : Settings
        Which script, and the limits. Host, port, workers and threads are gunicorn's.
    lifecycle : Lifecycle, optional
        Knows of the end of this process; by default that never comes.
    metrics_folder : Path, optional
        Where several workers put their metrics, for any of them to answer for all; by default
        this process is alone. It is the one in PROMETHEUS_MULTIPROC_DIR.
    replica : Path, optional
        The Unix socket at which this service answers for itself, beside those of the other replicas
        behind its port; by default there are no others.
    load : Load, optional
        Knows how many requests all processes compute at once; by default this one is alone.

    Returns
    -------
    Flask
        An application that is ready to score. ``app.extensions["record_malformed"]`` counts and
        logs a request that never reaches a route, see
        :func:`service.web.request_records.record_malformed`. ``app.extensions["stuck"]`` returns
        the stacks of computations that are long overdue: then the process should be replaced.

    Raises
    ------
    EntryScriptError
        When the script cannot be loaded, or its ``init()`` or the example fails: a service without
        it would be of no use.
    SettingsError
        When the file with the keys, or the explanation of the dashboard, cannot be used.
    ArtifactError
        When a file of a registered model is not what was registered; nothing was loaded then.

    Examples
    --------
    An entry script that answers what it is sent:

    >>> from tempfile import mkdtemp
    >>> script = Path(mkdtemp()) / "echo.py"
    >>> _ = script.write_text("from json import loads as run; init = dict")
    >>> app = create_app(Settings(entry_script=script))
    >>> app.test_client().post("/score", data="[[1, 2]]").json
    [[1, 2]]
    """
    lifecycle = lifecycle or Lifecycle()
    keys = Keys(settings.keys_file)
    origins = read_origins(settings.model_folder)
    check_files(settings.model_folder, origins)
    script = EntryScript(settings.entry_script)
    script.init()
    script.warm_up()
    metrics = Metrics(settings.model_name, script.model, metrics_folder, replica, origins=origins)
    gate = Gate(settings.n_in_flight, settings.n_slots, load)
    computations = Computations(in_place=lifecycle.answers_late_requests)
    guarded = GuardedScript(
        script, settings, gate, keys, metrics, lifecycle, origins, computations=computations
    )
    app = Flask("service.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    app.extensions["stuck"] = guarded.computations.stuck
    app.extensions["record_malformed"] = partial(record_malformed, metrics)
    record_requests(app, metrics, settings.deadline, lifecycle)
    for routes in PROTOCOLS:
        app.register_blueprint(routes(guarded))
    if settings.dashboard is not None:
        # What it needs of scikit-learn is not loaded where nobody wants it.
        from service.web.protocols.explanation_dashboard import dashboard_routes

        app.register_blueprint(dashboard_routes(guarded, settings))
    register_error_handlers(app)
    allow_origins(app, settings.origins)
    application: Any = under_prefix(app.wsgi_app, settings.path_prefix)
    app.wsgi_app = application  # type: ignore[method-assign]
    return app


def create_app_or_exit(
    settings: Settings,
    lifecycle: Lifecycle | None = None,
    metrics_folder: Path | None = None,
    replica: Path | None = None,
    load: Load | None = None,
) -> Flask:
    """Make the application, or end the process with one sentence on what is wrong.

    Parameters and what is returned are those of :func:`create_app`.
    """
    try:
        return create_app(settings, lifecycle, metrics_folder, replica, load)
    except (SettingsError, WebError, ArtifactError) as error:
        _show_cause(error)
        raise SystemExit(str(error)) from None


def from_environment() -> Flask:
    """Make the application that the environment describes, for one process without a server.

    It ends the process with one sentence where that cannot be.
    """
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    return create_app_or_exit(settings)


def _show_cause(error: Exception) -> None:
    # Errors of service.scoring say what is wrong and what to do; any other is a fault in the
    # script: show where.
    if error.__cause__ is not None and not isinstance(error.__cause__, ScoringError):
        traceback.print_exception(error.__cause__)
