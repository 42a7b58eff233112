"""What `deploy` knows of the service that it deploys, which it never imports.

Whatever else in this package depends on how the service is written takes it from here; one test
holds all of it against the service and against the image's recipe.
Next: `deploy.engine.docker_engine`.
"""

from __future__ import annotations

from collections.abc import Mapping

# The environment variables that a deployment sets itself, so that `env` may not, each with the key
# of deploy.yml that decides it; "" where there is none. Below the line are those that the image's
# recipe sets and the service does not read.
VARIABLES: Mapping[str, str] = {
    "ENTRY_SCRIPT": "entry_script",
    "AZUREML_MODEL_DIR": "models",
    "HOST": "bind",
    "PORT": "port",
    "SAGEMAKER_BIND_TO_PORT": "port",  # the service's second name for it
    "PROBE_PORT": "",
    "REUSE_PORT": "",
    "PORT_FROM": "",
    "REPLICAS_FOLDER": "",
    "WORKERS": "workers",
    "THREADS": "threads",
    "DRAIN_SECONDS": "timeouts.drain",
    "AUTH_KEYS_FILE": "auth_enabled",
    "TLS_CERT_FILE": "tls.certificate",
    "TLS_KEY_FILE": "tls.key",
    # ---
    "PATH": "",
    "HOME": "",
    "PYTHONUNBUFFERED": "",
    "PYTHONDONTWRITEBYTECODE": "",
}

# What it accepts.
MOST_WORKERS = 512
FEWEST_THREADS = 4

# Ports inside the container.
SERVICE_PORT = 8080
PROBE_PORT = 9001  # a private one, for probes

# Routes.
READY_ROUTE = "/ping"
LIVE_ROUTE = "/"
SCORE_ROUTE = "/score"
METRICS_ROUTE = "/metrics"

# Places in the image.
APP_FOLDER = "/app"
MODELS_FOLDER = "models"  # below it
CONTENT_HASH = f"{APP_FOLDER}/content.sha256"
SECRETS_FOLDER = "/run/secrets"
PORT_VOLUME = "/run/port"
PORT_FOLDER = f"{PORT_VOLUME}/shared"  # where the port is lent, and the replicas find each other
PYTHON = "/opt/venv/bin/python"
PROBE = [PYTHON, "-I", f"{APP_FOLDER}/probe.py"]

# The function that makes the application, as gunicorn calls it.
APPLICATION_MODULE = "service.web.app"
APPLICATION_FACTORY = "from_environment"

# Stopping, in seconds: the service goes on accepting for its drain, then finishes what is in
# flight, and has ended within 30 after all.
STOP_SECONDS = 35  # after which the engine kills it
MOST_DRAIN_SECONDS = 20
BALANCED_DRAIN_SECONDS = 5  # at least, where a balancer must see first that it is not ready

# Whose lines in the log are the requests that were answered.
ACCESS_LOGGER = "service.access"

# The key of a scoring explainer's manifest that names its engine, and the one that needs shap.
MANIFEST_METHOD = "method"
SHAPS_METHOD = "shap"
