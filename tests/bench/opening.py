"""From the call of the CNI plugin to the first packet that an allowed peer answers.

On the embedded cluster, with tasks on a named network, one after the other: the
plugin gives the address, the executor registers, Marathon tells of the task,
the controller claims its address, and the agents of both hosts open it. The
task's own program asks from its first instruction on, and notes when it got
through. The clock starts when the Mesos agent keeps what it hands to the plugin.
"""

import shlex
import sys
import time
from collections.abc import Iterator

from demo.stories.scene import Actor
from tests.bench.report import Figure, median, quantile
from tests.cluster.harness import START_SECONDS, App, Drive, launched, probe, wait_until
from tests.cluster.test_attached import containers

CONF = "/run/mesos/isolators/network/cni/{}/calico/network.conf"

QUIET_SECONDS = 0.5
"""Longer than a task takes to get through, most times."""

FRIEND = """
import socket
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); wire.bind(("0.0.0.0", 9000))
listener = socket.socket(); listener.bind(("0.0.0.0", 9000)); listener.listen(100)
while True:
    data, sender = wire.recvfrom(100)
    wire.sendto(data, sender)
"""

ASKER = """
import socket, time
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); wire.settimeout(0.002)
while True:
    try:
        wire.sendto(b"x", ("ADDRESS", 9000))
        wire.recv(10)
        break
    except OSError:
        pass
print(time.time(), flush=True)
time.sleep(1000)
"""


def measure(tasks: int = 40) -> Iterator[Figure]:
    """Start tasks one by one beside a peer on the other host."""
    with (
        launched("--add", "marathon=--allow-any-command") as running,
        Drive.of(running.cluster) as drive,
    ):
        drive.marathon.wait(START_SECONDS)
        wait_until(lambda: drive.watcher.hosts_ready() == 2, "not all agents registered")
        drive.deploy("/friend", [_app("friend", FRIEND, "host-2")])
        wait_until(lambda: _settled(drive, "/friend/friend") is not None, "no friend")
        friend = _settled(drive, "/friend/friend")
        assert friend is not None
        program = ASKER.replace("ADDRESS", str(friend.address))
        seconds = []
        for number in range(tasks):
            group = f"/asker-{number}"
            drive.deploy(group, [_app("asker", program, "host-1")])
            # Whoever asks the cluster how far it is takes the cores from it.
            time.sleep(QUIET_SECONDS)
            seconds.append(_opened_within(drive, f"{group}/asker"))
            drive.marathon.delete_group(group)
            wait_until(lambda: len(drive.watcher.look().actors) == 1, "the asker stays")
        milliseconds = [1000 * each for each in seconds]
        yield Figure("CNI's ADD to the first allowed packet, median", median(milliseconds), "ms")
        yield Figure(
            "CNI's ADD to the first allowed packet, p99", quantile(milliseconds, 0.99), "ms", 100
        )


def _app(name: str, code: str, host: str) -> App:
    app = probe(name, "one")
    return {
        **app,
        "cmd": shlex.join((sys.executable, "-S", "-c", code)),
        "constraints": [["hostname", "LIKE", host]],
        "ipAddress": {
            **app["ipAddress"],
            "networkName": "calico",
            "discovery": {"ports": [{"name": "ask", "number": 9000, "protocol": "udp"}]},
        },
    }


def _settled(drive: Drive, app: str) -> Actor | None:
    found = [each for each in drive.watcher.look().actors_of(app) if each.settled]
    return found[0] if found else None


def _opened_within(drive: Drive, app: str) -> float:
    """Seconds from the plugin's call to the answer that the task got."""
    wait_until(lambda: _settled(drive, app) is not None, "not settled")
    actor = _settled(drive, app)
    assert actor is not None
    host = actor.task.host
    container = _container(drive, host, actor.task_id)
    output = f"/run/mesos/sandboxes/{container}/stdout"
    wait_until(lambda: drive.cluster.run(host, ("cat", output)).stdout.endswith("\n"), "no answer")
    answered = float(drive.cluster.run(host, ("cat", output)).stdout)
    called = drive.cluster.run(host, ("stat", "-c", "%.9Y", CONF.format(container))).stdout
    return answered - float(called)


def _container(drive: Drive, host: str, task: str) -> str:
    return str(containers(drive.cluster, host)[task]["container_id"])


if __name__ == "__main__":
    for line in measure():
        print(line)
