"""Pages of HTML for people: blueprints, which any Flask application mounts.

``runs``  what is in a store of runs

Next: :mod:`service.pages.runs`.
"""
