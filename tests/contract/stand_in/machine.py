"""`python -m tests.contract.stand_in.machine`: a host of its own, for agents that mount and wire.

It has network, mounts and processes of its own, hence leaves nothing behind, and
ends with whoever started it. It prints the pid of its first process, by which
others join it.
"""

import os
import signal
import sys
from typing import NoReturn

from pyroute2 import IPRoute

from demo.embedded import namespaces

ADDRESS = "10.77.0.1"


def main() -> None:
    """Make the host, then wait for its end."""
    namespaces.end_with_parent()
    kinds = namespaces.CLONE_NEWNET | namespaces.CLONE_NEWNS | namespaces.CLONE_NEWPID
    namespaces.unshare(kinds)
    namespaces.mount("none", "/", None, namespaces.MS_REC | namespaces.MS_PRIVATE)
    with IPRoute() as links:
        links.link("set", index=1, state="up")
        links.addr("add", index=1, address=ADDRESS, prefixlen=32)
    pid = namespaces.fork(_first)
    print(pid, flush=True)
    os.waitpid(pid, 0)


def _first() -> NoReturn:
    namespaces.end_with_parent()
    namespaces.mount("proc", "/proc", "proc", 0)
    # What its agents leave behind is reaped by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
