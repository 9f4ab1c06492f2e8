"""The compose cluster on the test's engine, where what cannot be had is played.

ZooKeeper, the Mesos master and Mesos-DNS idle; Marathon and the Mesos agents
are the demo's stand-ins, with the rights that a test's machine can grant. All
else is as docker-compose.yml says.
"""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.image.images import FOREIGN, IMAGE, MESOS_AGENT, STAR, environment
from tests.kernel.docker import Docker

NET = "172.31.80"
IDLE = ("ZOOKEEPER", "ETCD", "MESOS_MASTER", "MARATHON", "MESOS_DNS")
HOSTS = (f"{NET}.11", f"{NET}.12")


class Project:
    """The services of the file, as containers."""

    def __init__(self, docker: Docker, source: Path) -> None:
        played = source / "played.yml"
        played.write_text(yaml.safe_dump({"version": "3.8", "services": _played()}))
        self._files = ("--file", str(source / "docker-compose.yml"), "--file", str(played))
        self._environment = (
            environment(docker)
            | {f"{each}_IMAGE": FOREIGN for each in IDLE}
            | {"MARATHON_CALICO_IMAGE": IMAGE, "STAR_IMAGE": STAR}
            | {"MESOS_AGENT_BUILT_IMAGE": MESOS_AGENT}
        )

    def call(self, *words: str) -> str:
        """What one command of Compose's says."""
        done = subprocess.run(
            ["docker-compose", "--project-name", "try", *self._files, *words],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, *words: str) -> str:
        """What one of the operator's commands says."""
        return self.call("exec", "-T", "controller-1", "marathon-calico", *words)


def _played() -> dict[str, Any]:
    marathon = [
        *("python3", "-m", "demo.marathon", "--listen=0.0.0.0:8080", "--state=/tmp/marathon.json"),
        *(f"--leader={NET}.10:8080", f"--name={NET}.10", "--default-network-name=calico"),
        *(f"--agent={each}=http://{each}:5051" for each in HOSTS),
    ]
    services: dict[str, Any] = {"marathon": _with_star(marathon)}
    for number, host in enumerate(HOSTS, start=1):
        agent = [
            *("python3", "-m", "demo.embedded.mesos_agent", "--state-dir=/var/lib/mesos"),
            *(f"--name={host}", f"--listen={host}:5051", f"--master={NET}.10"),
            f"--nameserver={NET}.5",
            *(
                "--network-cni-config-dir=/opt/cni/networks",
                "--network-cni-plugins-dir=/opt/cni/plugins",
            ),
        ]
        services[f"mesos-agent-{number}"] = _with_star(agent) | {
            "privileged": False,
            "cap_add": ["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"],
        }
    return services


def _with_star(program: list[str]) -> dict[str, Any]:
    return {"image": STAR, "user": "0:0", "entrypoint": program, "command": []}
