"""Gunicorn's process: what it is told, what all its workers share, and what is no HTTP.

``gunicorn_conf``       how gunicorn runs the service
``gunicorn_options``    which of gunicorn's own options are refused
``process``             what the parent makes once: settings, life, starts, counts, folder
``drain``               going away without losing a request
``startup``             how a worker starts: after the fork, one at a time, within a bound
``connection_balance``  an even share of connections for every worker
``shared_load``         how many requests all workers compute at once
``memory_folder``       a folder in memory, for what the workers write all the time
``replica_socket``      where this replica answers for itself
``application``         the application of :mod:`service.web`, with all that
``worker``              gunicorn's threaded worker, hardened
``incoming``            requests are whole before a thread sees them
``trial``               the service as it will run, started once

:mod:`service.web` knows nothing of this room: it is handed what it needs.

Next: `service.server.trial`.
"""
