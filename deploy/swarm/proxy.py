"""The proxy in front of the replicas: HAProxy's configuration, and the service that runs it.

It finds the replicas by asking the engine's DNS every second, so nothing in it changes when they
do: neither an update nor scaling restarts it. It runs on every manager and publishes the port
there, on all addresses. Next: `deploy.swarm.credentials`.
"""

from __future__ import annotations

import hashlib
import json

from deploy.configuration import Configuration
from deploy.contract import (
    METRICS_ROUTE,
    PROBE_PORT,
    READY_ROUTE,
    SECRETS_FOLDER,
    SERVICE_PORT,
    STOP_SECONDS,
)
from deploy.engine.docker_engine import SECOND, Body
from deploy.engine.labels import labels
from deploy.swarm.specs import PROXY, hardened, log_driver, resources, update

FILE = "/haproxy.cfg"
# For replicas: all that a configuration may ask for, and those that an update starts beside them.
PLACES = 128
CHECKS = "check inter 2s fastinter 500ms fall 2 rise 1 resolvers engine init-addr none"
CONNECTIONS = 1000
BUFFER = 64 * 2**10  # a request that fits in can be sent once more
MEMORY = 256 * 2**20  # two buffers for each connection, and as much again

NO_METRICS = (
    "Metrics: the replicas of a swarm are scraped one by one, {metrics} at port {port} of "
    "tasks.{name} on the network {name}-network; this address would show now one, now another."
)

CONFIGURATION = """\
global
    log stdout format raw local0
    maxconn {connections}
    nbthread 1
    tune.bufsize {buffer}
    hard-stop-after {stop}s

defaults
    mode http
    log global
    option dontlog-normal
    option forwardfor
    timeout connect 250ms
    timeout client 75s
    timeout server {request}s
    timeout http-request 10s
    timeout http-keep-alive 75s
    # A request goes to another replica when none was reached, or when one hung up before the first
    # byte of its answer: scoring changes nothing, so a row that is scored twice does no harm. An
    # answer that has begun is never repeated.
    retry-on conn-failure empty-response
    retries 4
    option redispatch 1

resolvers engine
    nameserver dns 127.0.0.11:53
    accepted_payload_size 8192
    resolve_retries 2
    timeout resolve 1s
    timeout retry 1s
    hold valid 1s

frontend public
    bind :{port}{certificate}
    # Each answer would be that of another replica, so that counters go up and down.
    acl metrics path {metrics}
    http-request return status 404 content-type text/plain string "{no_metrics}" if metrics
    default_backend replicas

backend replicas
    balance leastconn
    option httpchk
    http-check send meth GET uri {ready} ver HTTP/1.1 hdr Host replica
    http-check expect status 200
    # Each check is a line in a replica's log; while one is in doubt it is asked more often.
    default-server {checks}{encrypted}
    server-template replica {places} tasks.{name}:{port}
"""


def configuration(config: Configuration) -> str:
    """Write HAProxy's configuration.

    With a certificate the proxy answers with it and speaks TLS to the replicas too. It does not ask
    them for their name: only members of the network's own overlay are there, and the certificate
    names the public host.
    """
    tls = bool(config.tls.certificate)
    return CONFIGURATION.format(
        name=config.name,
        connections=CONNECTIONS,
        buffer=BUFFER,
        stop=STOP_SECONDS,
        request=config.timeouts.request,
        port=SERVICE_PORT,
        ready=READY_ROUTE,
        metrics=METRICS_ROUTE,
        no_metrics=NO_METRICS.format(name=config.name, port=PROBE_PORT, metrics=METRICS_ROUTE),
        places=PLACES,
        checks=CHECKS,
        certificate=f" ssl crt {SECRETS_FOLDER}/tls.crt" if tls else "",
        encrypted=" ssl verify none" if tls else "",
    )


def service(config: Configuration, network: str, file: Body, secrets: list[Body]) -> Body:
    """Describe the proxy's service; two that are the same have the same ``digest`` label.

    Parameters
    ----------
    config : Configuration
    network : str
        Its id.
    file : dict
        Its configuration, mounted at `FILE`.
    secrets : list
        The certificate and its key, mounted.
    """
    port = {
        "Protocol": "tcp",
        "TargetPort": SERVICE_PORT,
        "PublishedPort": config.port,
        "PublishMode": "host",  # by way of the swarm's own balancer it would need IPVS
    }
    body: Body = {
        "Name": f"{config.name}-proxy",
        "TaskTemplate": {
            "ContainerSpec": {
                **hardened(config.proxy_image, labels(config.name, PROXY)),
                "Command": ["haproxy", "-db", "-f", FILE],
                "Configs": [file],
                "Secrets": secrets,
                "StopSignal": "SIGUSR1",  # finish what is in flight
                "StopGracePeriod": STOP_SECONDS * SECOND,
            },
            "Resources": resources(MEMORY, 1, reserved=False),
            "RestartPolicy": {"Condition": "any", "Delay": SECOND},
            "Placement": {"Constraints": ["node.role==manager"]},
            "Networks": [{"Target": network}],
            "LogDriver": log_driver(),
        },
        "Mode": {"Global": {}},
        "UpdateConfig": update("stop-first", "rollback"),  # two cannot have the port
        "EndpointSpec": {"Mode": "dnsrr", "Ports": [port]},
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]
    return {**body, "Labels": labels(config.name, PROXY, digest=digest)}
