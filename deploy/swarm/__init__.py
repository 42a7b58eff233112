"""Replicas over several hosts: a Docker Swarm, with HAProxy in front.

One replicated service without a virtual IP (those need IPVS in the kernel) on an overlay network;
the proxy, on every manager, finds the replicas by the engine's own DNS. An update starts a new
replica before an old one stops, and the swarm itself takes back an update whose replicas fail.

``specs``        what is asked of the swarm, as data
``proxy``        the proxy: its configuration and its service
``credentials``  keys and certificates: files of the swarm, which are replaced and never changed
``api``          asks it
``state``        what runs, read from the swarm
``plan``         which steps lead to what is wanted
``watch``        waits until the swarm has followed, and says what went wrong
``target``       performs the steps
``replicas``     how the replicas are, what failed and why

Next: `deploy.swarm.specs`.
"""
