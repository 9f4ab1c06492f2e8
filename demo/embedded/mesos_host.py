"""`python -m demo.embedded.mesos_host`: installs a host's plugins, then is its Mesos agent.

It does what an operator does once on every host, by the product's own commands.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from demo.embedded.processes import product_command
from demo.stories.forms import NETWORK

PLUGINS = Path("/run/plugins")
NETWORKS = Path("/run/networks")
MODULES = Path("/run/modules.json")
NETMODULES = "netmodules"


def main() -> None:
    """Prepare, then execute the agent with the same arguments and those of its plugins."""
    arguments = sys.argv[1:]
    _install("cni", "--plugins-dir", PLUGINS, "--config-dir", NETWORKS, "--network", NETWORK)
    added = [
        "--network-cni-config-dir",
        str(NETWORKS),
        "--network-cni-plugins-dir",
        str(PLUGINS),
    ]
    if NETMODULES in arguments:
        program = PLUGINS / "calico_mesos"
        _install("netmodules", "--file", program)
        MODULES.write_text(render_modules(program))
        added += ["--modules", str(MODULES)]
    os.execv(
        sys.executable, (sys.executable, "-m", "demo.embedded.mesos_agent", *arguments, *added)
    )


def render_modules(program: Path) -> str:
    """The `modules.json` that names one program for both of net-modules' calls."""
    parameters = [
        {"key": key, "value": str(program)} for key in ("isolator_command", "ipam_command")
    ]
    module = {"name": "com_mesosphere_mesos_NetworkIsolator", "parameters": parameters}
    return json.dumps({"libraries": [{"file": "none", "modules": [module]}]})


def _install(plugin: str, *options: str | Path) -> None:
    command = (product_command(), plugin, "install", *map(str, options))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
