"""The version of the service, the one that pyproject.toml has.

Next: :mod:`service.threads`.
"""

VERSION = "0.1.0"
