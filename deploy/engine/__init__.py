"""The one room that talks to the Docker Engine.

``docker_engine``  asks it; exceptions leave as those of `deploy.errors`
``labels``         by which containers, images and services are known again
``hardening``      what a container may use, and what is taken from it
``tunnel``         reaches the engine of another host through ssh

Next: `deploy.engine.docker_engine`.
"""
