"""Pages of HTML for people.

``runs``          what is in a store of runs: a blueprint, which any Flask application mounts
``explanations``  an application of it, and of the dashboard for each explanation there

Next: :mod:`service.pages.runs`.
"""
