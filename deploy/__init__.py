"""The tool behind ``make deploy``: from saved models to a running, limited, health-checked
container.

It never imports ``service``: it sends files to a Docker Engine and looks at what answers. Plans are
data (``specs``), one module talks to the engine (``engine``), the rest is the order in which things
are asked of it.

``config``        what to deploy: deploy.yml, checked
``context``       which files go into the image; ``lock`` which packages, ``pip_settings`` where the build finds them
``specs``         what is asked of the engine, as data
``engine``        asks it; exceptions leave as those of ``errors``
``build``         image and release
``preflight``     proves a release before it gets a request, with ``probe`` inside the container
``state``         what runs, read from the engine
``rollout``       replaces one release by another, and mends what an interruption left
``releases``      those that are kept; ``replicas`` how those that serve are; ``interrupts`` what Ctrl-C must wait for
``targets``       what differs between one host and more of them; ``swarm`` is the other one: start with its docstring
``sbom``          lists what is in an image; ``render`` writes manifests for clusters, ``tunnel`` reaches other hosts
``operations``    the verbs; ``locking``, ``audit``, ``secrets`` and ``status`` are what they use
``cli``           the command line, ``webservice`` the same from Python

Start with :mod:`deploy.rollout`.
"""

from deploy.config import Configuration
from deploy.errors import DeployError
from deploy.webservice import Webservice, deploy, deploy_configuration

__all__ = ["Configuration", "DeployError", "Webservice", "deploy", "deploy_configuration"]
