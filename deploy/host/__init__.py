"""Replicas on one host, which share a port.

``port_keeper``  keeps the port open, in the anchor
``specs``     what is asked of the engine, as data
``state``     what runs, read from the engine
``plan``      which steps lead to what is wanted
``target``    performs them
``replicas``  how those that serve are

Next: `deploy.host.port_keeper`.
"""
