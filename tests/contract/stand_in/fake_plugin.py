"""A CNI plugin and a net-modules program that records its calls and does as it is told.

It is copied under the name of each, with what it is to do beside it in
`behaviour.json`: what to answer, what to say on stderr, how to exit, whether to
wire the namespace, and whether to wait for a file before all that.
"""

import json
import os
import sys
import time
from pathlib import Path

#: Where the Mesos agent listens.
AGENT = "10.77.0.1/32"
HERE = Path(__file__).resolve().parent


def main() -> None:
    """Record the call, then answer it."""
    text = sys.stdin.read()
    request = json.loads(text)
    command = os.environ.get("CNI_COMMAND") or request["command"]
    namespace = os.environ.get("CNI_NETNS") or f"/proc/{request.get('args', {}).get('pid')}/ns/net"
    given = Path("/proc/self/environ").read_text()
    call = {
        "command": command,
        "program": Path(sys.argv[0]).name,
        # As it was given: the interpreter adds to what it shows.
        "environment": dict(pair.split("=", 1) for pair in given.split("\0") if pair),
        "input": request,
        "inode": os.stat(namespace).st_ino if os.path.exists(namespace) else None,
    }
    with (HERE / "calls.jsonl").open("a") as file:
        file.write(json.dumps(call) + "\n")
    behaviour = json.loads((HERE / "behaviour.json").read_text()).get(command, {})
    while behaviour.get("wait") and not (HERE / behaviour["wait"]).exists():
        time.sleep(0.01)
    if address := behaviour.get("wire"):
        wire(namespace, address)
    sys.stdout.write(behaviour.get("stdout", "{}"))
    sys.stderr.write(behaviour.get("stderr", ""))
    sys.exit(behaviour.get("exit", 0))


def wire(namespace: str, address: str) -> None:
    """Give the namespace an eth0 with that address, and a way to its host."""
    from pyroute2 import IPRoute, NetNS  # noqa: PLC0415 - only those who wire wait for it

    name = f"h{os.getpid()}"
    with IPRoute() as links:
        links.link("add", ifname=name, kind="veth", peer={"ifname": "eth0"})
        (host,), (inside,) = links.link_lookup(ifname=name), links.link_lookup(ifname="eth0")
        descriptor = os.open(namespace, os.O_RDONLY)
        links.link("set", index=inside, net_ns_fd=descriptor)
        os.close(descriptor)
        links.link("set", index=host, state="up")
        links.route("add", dst=f"{address}/32", oif=host)
    with NetNS(namespace) as links:
        (inside,) = links.link_lookup(ifname="eth0")
        links.addr("add", index=inside, address=address, prefixlen=32)
        links.link("set", index=inside, state="up")
        links.route("add", dst=AGENT, oif=inside)


if __name__ == "__main__":
    main()
