"""The web service: a Flask application around the user's entry script.

It reads bytes from HTTP, hands them to the script's ``run(raw_data)`` and writes what comes back as
strict JSON. What a row, a model or an importance is, is known to :mod:`service.scoring`, which the
script calls.

``app``              the wiring: settings in, an application out
``entry_script``     the host of the user's file
``entry``            how its ``run`` is called, and what it may import
``lifecycle``        what is known of the end of this process
``keys``             who may ask
``request_limits``   how many requests are in flight, and how long one may take
``computations``     what computes in this process, and may never end
``slow_clients``     those who take their answer a byte at a time are hung up on
``guarded_script``   the entry script behind all these: every scoring route goes through it
``bodies``           the bytes of a request as text
``encodings``        how they are packed and encoded
``protocols``        the routes, in the form of each kind of client
``json_response``    answers as JSON
``error_responses``  the one table of exceptions and statuses
``errors``           what can go wrong here
``request_records``  the id, the log line and the count of every request
``logs``             logs as one JSON object a line
``metrics``          what Prometheus is told

Next: `service.web.app`.
"""
