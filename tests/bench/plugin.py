"""CNI's own way to connect a task, as a peer."""

import json
import os
import subprocess
import time
from pathlib import Path

from tests.bench.report import Unavailable
from tests.kernel.namespaces import Namespace

PLUGINS = Path("/usr/lib/cni")


class Plugin:
    """CNI's point-to-point plugin with its own keeper of addresses."""

    def __init__(self, directory: Path) -> None:
        if not (PLUGINS / "ptp").exists():
            raise Unavailable("install containernetworking-plugins")
        ipam = {
            "type": "host-local",
            "dataDir": str(directory),
            "subnet": "10.201.0.0/16",
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        config = {"cniVersion": "0.4.0", "name": "bench", "type": "ptp", "ipMasq": False}
        self._config = json.dumps({**config, "ipam": ipam})

    def call(self, command: str, task: Namespace) -> float:
        """One call as a container runtime makes it; the seconds it took."""
        environment = {
            **os.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"task-{task.pid}",
            "CNI_NETNS": f"/proc/{task.pid}/ns/net",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(PLUGINS),
        }
        started = time.perf_counter()
        done = subprocess.run(
            [str(PLUGINS / "ptp")],
            input=self._config,
            text=True,
            capture_output=True,
            env=environment,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"ptp: {done.stdout or done.stderr}")
        return time.perf_counter() - started
