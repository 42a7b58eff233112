"""Models that are registered in MLflow: from an alias to files that are what was registered.

An alias is looked up once, when a release is made. From then on the release has a version, whatever
the alias says later. MLflow is imported when a configuration names a registered model, and never
otherwise.

``origin``    what is known of a version that is deployed
``store``     asks MLflow, for a bounded time
``versions``  finds a version, and fetches its files
``fetching``  what a configuration names, as files in a folder of this machine
``marking``   writes at a version where it runs

Next: `deploy.registry.origin`.
"""
