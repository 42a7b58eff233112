"""The version of the service, the one that pyproject.toml has."""

VERSION = "0.1.0"
