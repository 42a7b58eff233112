"""The tool behind ``make deploy``: from saved models to a running, limited, health-checked
container.

It never imports ``service``: it sends files to a Docker Engine and looks at what answers. Plans are
data (the ``specs`` of each room), one room talks to the engine, the rest is the order in which
things are asked of it.

``cli``            the command line; ``webservice`` the same from Python
``deployment``     the verbs
``configuration``  what to deploy: deploy.yml, checked
``contract``       what is known of the service that is deployed
``target``         what differs between one host and more of them; ``serving`` what they say about what runs
``client``         asks what is deployed to score
``render``         writes manifests for clusters
``console``        what a person sees meanwhile; ``interrupts`` what Ctrl-C must wait for
``errors``         what can go wrong

Rooms: ``engine`` (the one that talks to Docker), ``image`` (from files to an image), ``release``
(an image with its configuration, proven and kept), ``host`` and ``swarm`` (where it runs),
``verbs`` (what the verbs use).

Start with :mod:`deploy.deployment`.
"""

from deploy.configuration import Configuration
from deploy.errors import DeployError
from deploy.webservice import Webservice, deploy, deploy_configuration

__all__ = ["Configuration", "DeployError", "Webservice", "deploy", "deploy_configuration"]
