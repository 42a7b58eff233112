"""What can go wrong while deploying.

::

    DeployError
    ├── ConfigurationError       a key of deploy.yml cannot be used; the message has its path
    ├── EngineError              the Docker Engine refused; the message says what was asked
    │   ├── UnreachableError     no engine answers
    │   ├── NotFoundError        it has no such container, image or volume
    │   └── ConflictError        the name is taken
    ├── RegistryError            a registered model is not there, not as registered, or not reached
    ├── BuildError               a step of the image's build failed
    ├── RefusedError             a release did not prove itself; the one that serves was not touched
    ├── LockedError              somebody else is deploying under the same name
    ├── OwnedError               another project has deployed under the name
    ├── NotDeployedError         nothing serves under the name, or there is no such release
    └── RequestFailedError       the service refused or failed to score

Every message says what was being done, what came back, and what to do next.
"""


class DeployError(Exception):
    """Base of every error that `deploy` raises on purpose."""


class ConfigurationError(DeployError):
    """A key of the configuration has a value that cannot be used."""


class EngineError(DeployError):
    """The Docker Engine refused or failed."""


class UnreachableError(EngineError):
    """No Docker Engine answers."""


class NotFoundError(EngineError):
    """The engine has no such container, image or volume."""


class ConflictError(EngineError):
    """The name is taken."""


class RegistryError(DeployError):
    """A registered model is not there, is not what was registered, or cannot be reached."""


class BuildError(DeployError):
    """A step of the image's build failed."""


class RefusedError(DeployError):
    """A release did not prove itself."""


class LockedError(DeployError):
    """Somebody else is deploying under the same name."""


class OwnedError(DeployError):
    """Another project has deployed under the name."""


class NotDeployedError(DeployError):
    """Nothing serves under the name, or there is no such release."""


class RequestFailedError(DeployError):
    """The service refused or failed to score."""
