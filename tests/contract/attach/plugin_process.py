"""A plugin as a runtime starts it: a program of its own."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.attach import plugin

CONTAINER = "5baff64c-d028-47ba-864e-a5ee679fc069"
CONFIG = {"cniVersion": "1.0.0", "name": "calico", "type": "marathon-calico-cni"}


@dataclass(frozen=True, slots=True)
class Done:
    """What a call came to."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """What was printed, decoded."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on standard error, which there must be."""
        (line,) = self.err.splitlines()
        return line


def run_plugin(
    role: str, path: Path, given: str | bytes, environment: Mapping[str, str] | None = None
) -> Done:
    """Run `cni` or `netmodules`, with the socket as written into an installed file."""
    done = subprocess.run(
        [
            sys.executable,
            "-IS",
            "-c",
            f"import runpy; plugin = runpy.run_path({plugin.__file__!r});"
            f"raise SystemExit(plugin[{role!r}]({'' if path == Path() else str(path)!r}))",
        ],
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        env=environment or {},
        check=False,
        timeout=20,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_cni(
    path: Path, command: str, given: str | bytes | None = None, **changes: str | None
) -> Done:
    """One call of CNI; `None` takes a variable out."""
    environment: dict[str, str | None] = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": CONTAINER,
        "CNI_NETNS": "/proc/self/ns/net",
        "CNI_IFNAME": "eth0",
        **changes,
    }
    text = json.dumps(CONFIG) if given is None else given
    return run_plugin(
        "cni",
        path,
        text,
        {name: value for name, value in environment.items() if value is not None},
    )
