"""The web service: a Flask application around the user's entry script.

It reads bytes from HTTP, hands them to the script's ``run(raw_data)`` and writes what comes back as
strict JSON. It does not know what a row, a model or an importance is: payloads are parsed by
`service.scoring`, which the script calls.

Reading order: `app` (the wiring), `routes` (what is answered), `entry_script` (the host of the
user's file), `refusals` (the one table of exceptions and statuses), `json_out` (strict JSON),
`settings` (the environment), `gunicorn_conf`.
"""
