"""An image with its configuration, from its making to its end.

``release``      what a release is
``assembly``     from files to a release
``inventory``    everything of a deployment on its engine, listed once
``releases``     those that are kept: recorded, forgotten, and their images freed
``specs``        what every container of the service is made of
``preflight``    proves a release before it gets a request
``advice``       which key of deploy.yml would help a release that is refused
``probe``        what the preflight asks inside the container
``credentials``  keys and certificates, in a volume that only the service reads

Next: `deploy.release.release`.
"""
