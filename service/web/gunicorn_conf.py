"""How gunicorn runs the service: ``gunicorn -c service/web/gunicorn_conf.py``, from the folder that holds ``service``.

Gunicorn reads the module's variables by name; its documentation explains each. Options on its command line come after
and win.
"""

from pathlib import Path

from service.web.errors import SettingsError
from service.web.settings import Settings

try:
    _settings = Settings.from_environment()
except SettingsError as error:
    raise SystemExit(str(error)) from None

wsgi_app = "service.web.app:from_environment()"
bind = _settings.bind
workers = _settings.workers

# Threads, so that the health routes answer while rows are explained.
worker_class = "gthread"
threads = _settings.threads

# The parent loads the models and the workers share that memory. It must never predict: the OpenMP threads that a
# prediction starts do not survive the fork, and the workers would wait for them for ever.
preload_app = True

# Longer than the idle time-out of the usual load balancers (60 s), so that it is never gunicorn which hangs up first.
keepalive = 75

# Requests in flight may end after SIGTERM; below the 30 s that container hosts wait before SIGKILL.
graceful_timeout = 25

# Workers prove that they live by touching a file: in memory, since a slow disk would get them killed.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# A second way to steer the process is one more to guard, and nothing uses it.
control_socket_disable = True
