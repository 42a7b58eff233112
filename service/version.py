"""The version of the service, the one that pyproject.toml has.

Next: `service.errors`.
"""

VERSION = "0.1.0"
