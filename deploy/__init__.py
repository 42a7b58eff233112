"""The tool behind ``make deploy``: from saved models to a running, health-checked container.

It never imports ``service``: it sends files to a Docker Engine and looks at what answers. What is
to be done is data (a plan of steps, and the bodies of the engine's requests); one room talks to the
engine, and a target performs a plan.

``deployment``     what is deployed under one name, and the verbs
``steps``          what is done to it, as values
``serving``        what is found of it
``target``         where it runs, and how a plan is performed there
``configuration``  what to deploy: deploy.yml, checked
``contract``       what is known of the service that is deployed
``client``         asks what is deployed to score
``cli``            the command line
``webservice``     the same from Python
``from_workspace``  models of a workspace, by Azure ML's call
``render``         writes manifests for clusters
``console``        what a person sees meanwhile
``interrupts``     what Ctrl-C must wait for
``errors``         what can go wrong

``engine``         the room that talks to Docker
``registry``       models that are registered in MLflow
``image``          from files to an image
``release``        an image with its configuration: proven and kept
``host``           where replicas share a port
``swarm``          where they are spread over hosts
``verbs``          what the verbs use

Next: `deploy.deployment`.
"""

from deploy.configuration import Configuration
from deploy.errors import DeployError
from deploy.from_workspace import InferenceConfig, deploy_from_model, image_configuration
from deploy.webservice import Webservice, deploy, deploy_configuration

__all__ = [
    "Configuration",
    "DeployError",
    "InferenceConfig",
    "Webservice",
    "deploy",
    "deploy_configuration",
    "deploy_from_model",
    "image_configuration",
]
