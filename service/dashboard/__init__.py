"""The explanation dashboard: every row of an explanation, and what if, in any browser.

``limits``         bounds on what one question may cost
``errors``         what can go wrong
``mapped_arrays``  arrays as pages of their files
``values``         the values of one column
``store``          an explanation, column by column, out of its files
``outcomes``       true values, predictions, outcomes
``columns``        the columns that a question can name
``questions``      the parts of a question, each checked
``cohorts``        which rows fit some filters
``saved_cohorts``  cohorts that are saved with an explanation
``dashboard``      one explanation with its model
``charts``         the numbers of each chart
``model_access``   how the model may be asked
``asking``         what if
``answers``        which function answers which call
``meta``           what there is to ask for
``routes``         Flask's blueprint
``hosting``        where it is shown: a server for one user, a notebook, one file

The page is in ``static``; what it asks is written in docs/dashboard-api.md. Next:
:mod:`service.dashboard.limits`.
"""

from service.dashboard.dashboard import Dashboard
from service.dashboard.hosting.notebook import ExplanationDashboard
from service.dashboard.hosting.serving import open_dashboard
from service.dashboard.hosting.snapshot import write_snapshot

__all__ = ["Dashboard", "ExplanationDashboard", "open_dashboard", "write_snapshot"]
