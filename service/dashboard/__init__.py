"""The explanation dashboard: every row of an explanation, and what if, in any browser.

``limits``        bounds on what one question may cost
Next: :mod:`service.dashboard.limits`.
"""

from service.dashboard.dashboard import Dashboard
from service.dashboard.serving import open_dashboard

__all__ = ["Dashboard", "open_dashboard"]
