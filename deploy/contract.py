"""What `deploy` knows of the service that it deploys, which it never imports.

Next: `deploy.image.context`.
"""

from __future__ import annotations

SERVICE_PORT = 8080  # inside the namespace
PROBE_PORTS = range(9001, 10000)
SECRETS_FOLDER = "/run/secrets"
PROBE = ["/opt/venv/bin/python", "-I", "/app/probe.py"]
STOP_SECONDS = 35  # the service itself ends within 30: what is in flight is answered

# Set by the deployment itself: not to be set in `env`.
RESERVED = {
    "HOST",
    "PORT",
    "PROBE_PORT",
    "REUSE_PORT",
    "WORKERS",
    "THREADS",
    "AUTH_KEYS_FILE",
    "DRAIN_SECONDS",
}
