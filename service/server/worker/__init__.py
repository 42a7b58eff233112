"""Gunicorn's threaded worker, hardened against clients that do nothing and code that does not end.

``scoring_worker``      how it starts, takes connections and ends
``forks``               signals, and the processes that a script forks
``leftovers``           what a script has started, at the worker's end
``late_requests``       one answer to each request, in time
``clients``             what comes from clients and goes to them, in the main loop
``malformed_requests``  answers to what gunicorn cannot read
``borrowed_port``       a port that another process keeps open

Next: `service.server.worker.scoring_worker`.
"""
