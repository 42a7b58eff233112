"""Two Docker Engines on one machine, each in a network namespace of its own, joined to a swarm; and
a registry.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from deploy_helpers import answers

from deploy.engine.docker_engine import Engine

SECONDS = 60
SUBNET = "10.213.87"  # of the bridge between the hosts; nothing leaves this machine
PROGRAMS = ("dockerd", "ip", "nsenter", "unshare", "docker", "docker-registry")


def unsupported():
    """Say what this machine lacks for two hosts; empty when nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [
        program
        for program in PROGRAMS
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]
    if absent:
        return (
            f"there is no {', '.join(absent)}: apt-get install docker.io iproute2 docker-registry"
        )
    return "" if _can_tunnel() else "this kernel has no VXLAN, of which overlay networks are made"


def _can_tunnel():
    added = run(
        "ip",
        "link",
        "add",
        "swarm-try",
        "type",
        "vxlan",
        "id",
        "87",
        "dstport",
        "4787",
        check=False,
    )
    run("ip", "link", "delete", "swarm-try", check=False)
    return added.returncode == 0


def run(*command, check=True, **options):
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, **options
    )
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done


class Host:
    """A Docker Engine in a network namespace.

    Its containers live in its own data root, its runtime's state in its own exec root.
    """

    def __init__(self, number, folder):
        self.name, self.address = f"host{number}", f"{SUBNET}.{number}"
        self.space = f"swarm{number}-{os.getpid()}"
        self.folder = folder / f"host{number}"
        self.folder.mkdir()
        self.socket = self.folder / "docker.sock"
        self._process = None

    @property
    def url(self):
        return f"unix://{self.socket}"

    def connect(self, switch):
        """Make the namespace, with one cable to the switch."""
        run("ip", "netns", "add", self.space)
        run("ip", "-n", self.space, "link", "set", "lo", "up")
        cable = ["type", "veth", "peer", "name", self.space[:15], "netns", switch]
        run("ip", "-n", self.space, "link", "add", "eth0", *cable)
        run("ip", "-n", switch, "link", "set", self.space[:15], "master", "bridge", "up")
        run("ip", "-n", self.space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.space, "link", "set", "eth0", "up")

    def start(self, registry):
        """Start the engine and wait until it answers; `ip netns exec` would take its control groups
        away.
        """
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            ["nsenter", f"--net=/var/run/netns/{self.space}", "unshare", "--uts", "sh", "-c",
             f'hostname {self.name} && exec "$@"', "sh", "dockerd", "--host", self.url,
             "--data-root", self.folder / "data", "--exec-root", self.folder / "exec",
             "--pidfile", self.folder / "pid", "--insecure-registry", registry],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + SECONDS
        while not answers(str(self.socket)):
            assert self._process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.2)
        Engine(self.url, timeout=SECONDS).close()

    def docker(self, *words):
        return run("docker", "--host", self.url, *words).stdout.strip()

    def kill(self):
        """What a host's end looks like: no process of it says another word."""
        for _ in range(100):
            processes = self._processes()
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if not processes:
                break
            time.sleep(0.1)
        if self._process is not None:
            self._process.wait(timeout=SECONDS)
            self._process = None

    def _processes(self):
        # The engine, its containerd and shims name this host's folder; what runs in a container
        # descends from a shim.
        parents, own = {}, set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError, IndexError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if fields[0] != "Z":
                        parents[int(entry.name)] = int(fields[1])
                        if str(self.folder) in (entry / "cmdline").read_text().replace("\0", " "):
                            own.add(int(entry.name))
        while more := {process for process, parent in parents.items() if parent in own} - own:
            own |= more
        return own - {os.getpid()}

    def remove(self):
        """Take away everything of this host: processes, mounts, namespace, files."""
        self.kill()
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted(
            (mount for mount in mounts if mount.startswith(str(self.folder))), reverse=True
        ):
            run("umount", "--lazy", mount, check=False)
        run("ip", "netns", "delete", self.space, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Cluster:
    """A manager, a worker that joins when it is told to, and a registry that both pull from."""

    def __init__(self, manager, worker, registry):
        self.manager, self.worker, self.registry = manager, worker, registry
        manager.docker("swarm", "init", "--advertise-addr", manager.address)
        self._joined = False

    def join(self):
        """Make the worker a host of the swarm; once is enough."""
        if not self._joined:
            token = self.manager.docker("swarm", "join-token", "--quiet", "worker")
            there = f"{self.manager.address}:2377"
            self.worker.docker(
                "swarm", "join", "--token", token, "--advertise-addr", self.worker.address, there
            )
            self._joined = True


@contextmanager
def cluster():
    """Start a swarm of two hosts, and leave nothing of it behind."""
    with ExitStack() as opened:
        folder = Path(tempfile.mkdtemp(prefix="swarm-"))
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        switch = opened.enter_context(_switch())
        registry = opened.enter_context(_registry(folder))
        hosts = []
        for number in (1, 2):
            hosts.append(Host(number, folder))
            opened.callback(hosts[-1].remove)
            hosts[-1].connect(switch)
            hosts[-1].start(registry)
        yield Cluster(*hosts, registry)


@contextmanager
def _switch():
    """A bridge in a namespace of its own, where no firewall of this machine's looks at it, and a
    cable to it.
    """
    switch, cable = f"switch-{os.getpid()}", f"sw-{os.getpid()}"
    run("ip", "netns", "add", switch)
    try:
        run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "bridge", "up")
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", cable, "netns", switch)
        run("ip", "-n", switch, "link", "set", cable, "master", "bridge", "up")
        run("ip", "addr", "add", f"{SUBNET}.254/24", "dev", cable)
        run("ip", "link", "set", cable, "up")
        yield switch
    finally:
        run("ip", "netns", "delete", switch, check=False)  # and the cable with it


@contextmanager
def _registry(folder):
    with socket.create_server((f"{SUBNET}.254", 0)) as server:
        port = server.getsockname()[1]
    (folder / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f"http: {{addr: '{SUBNET}.254:{port}'}}\n"
    )
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        ["docker-registry", "serve", folder / "registry.yml"], stdout=quiet, stderr=quiet
    )
    try:
        yield f"{SUBNET}.254:{port}"
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)
