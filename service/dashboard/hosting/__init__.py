"""Where a dashboard is shown when no service shows it.

``serving``   a server for one user
``notebook``  a dashboard below a cell
``snapshot``  one file that needs no server

Next: :mod:`service.dashboard.hosting.serving`.
"""
