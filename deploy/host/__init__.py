"""Replicas on one host, which share a port.

``specs``     what is asked of the engine, as data
``state``     what runs, read from the engine
``rollout``   replaces one release by another, and mends what an interruption left
``replicas``  how those that serve are

Start with :mod:`deploy.host.specs`.
"""
