"""The compose cluster on the test's engine, where what cannot be had is played.

ZooKeeper and the Mesos master idle; Marathon, Mesos-DNS and the Mesos agents are
the demo's stand-ins, with the rights that a test's machine can grant. All else is
as docker-compose.yml says.
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
#: What the file says, too.
RESOURCES = "--resources=ports:[9000-9001,31000-32000]"


class Project:
    """The services of the file, as containers."""

    def __init__(self, docker: Docker, source: Path) -> None:
        played = source / "played.yml"
        played.write_text(yaml.safe_dump({"version": "3.8", "services": _played()}))
        self._source = source
        self._environment = (
            environment(docker)
            | {"COMPOSE_FILE": f"docker-compose.yml:{played}", "COMPOSE_PROJECT_NAME": "try"}
            | {f"{each}_IMAGE": FOREIGN for each in IDLE}
            | {"MARATHON_CALICO_IMAGE": IMAGE, "STAR_IMAGE": STAR}
            | {"MESOS_AGENT_BUILT_IMAGE": MESOS_AGENT}
        )

    def up(self) -> str:
        """Start it, as `make cluster` does."""
        return self._run("demo/compose/up.sh")

    def down(self) -> None:
        """End it, and all that it kept."""
        self._run("demo/compose/down.sh", VOLUMES="1")

    def launch(self, story: str) -> None:
        """Deploy the probes of a story, by the script that everybody uses."""
        self._run(f"demo/launch-{story}.sh")

    def stop(self, story: str) -> None:
        """End them by the other script."""
        self._run(f"demo/stop-{story}.sh")

    def ask(self, *words: str) -> str:
        """What one of the operator's commands says."""
        words = ("docker-compose", "exec", "-T", "controller-1", "marathon-calico", *words)
        return self._run(*words)

    def _run(self, *words: str, **more: str) -> str:
        done = subprocess.run(
            words,
            cwd=self._source,
            env=self._environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _played() -> dict[str, Any]:
    marathon = [
        *("python3", "-m", "demo.marathon", "--listen=0.0.0.0:8080", "--state=/tmp/marathon.json"),
        *(f"--leader={NET}.10:8080", f"--name={NET}.10", "--default-network-name=calico"),
        *(f"--agent={each}=http://{each}:5051" for each in HOSTS),
    ]
    # Nobody who idles ends when he is asked to.
    idle = {"stop_grace_period": "1s"}
    services: dict[str, Any] = dict.fromkeys(("zookeeper", "mesos-master"), idle)
    services["marathon"] = _with_star(marathon)
    names = f"python3 -m demo.names --listen={NET}.6:53 --marathon=http://{NET}.10:8080"
    services["mesos-dns"] = _with_star(names.split())
    for number, host in enumerate(HOSTS, start=1):
        agent = [
            *("python3", "-m", "demo.embedded.mesos_agent", "--state-dir=/var/lib/mesos"),
            *(f"--name={host}", f"--listen={host}:5051", f"--master={NET}.10"),
            *(f"--nameserver={NET}.5", RESOURCES),
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
