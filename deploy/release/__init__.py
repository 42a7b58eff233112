"""An image with its configuration, from its making to its end.

``release``      what a release is
``releases``     those that are kept
``specs``        what every container of the service is made of
``preflight``    proves a release before it gets a request, with ``probe`` inside the container
``leftovers``    what a deployment that was killed has left
``credentials``  keys and certificates, in a volume that only the service reads

Start with :mod:`deploy.release.release`.
"""
