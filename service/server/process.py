"""What gunicorn's parent makes once, and all its workers share.

Importing this module reads the environment, once for the whole service, and ends the process with
one sentence where a setting cannot be used.

Next: `service.server.drain`.
"""

from service.server.connection_balance import SharedCounts
from service.server.drain import Drain
from service.server.memory_folder import MetricsFolder
from service.server.replica_socket import open_socket
from service.server.shared_load import SharedLoad
from service.server.startup import Startup
from service.settings import Settings, SettingsError

try:
    settings = Settings.from_environment()
except SettingsError as error:
    raise SystemExit(str(error)) from None

metrics_folder = MetricsFolder()
lifecycle = Drain()
connections = SharedCounts()
load = SharedLoad()
startup = Startup(metrics_folder.path, settings.start, settings.n_workers, connections.has_any)
replica, replica_sockets = open_socket(settings.replicas_folder)
