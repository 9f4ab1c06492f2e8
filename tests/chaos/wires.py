"""`python -m tests.chaos.wires`: cuts hosts of the embedded cluster off from each other.

`cut ONE OTHER` or `mend ONE OTHER` in, a line out. No packet says why it is lost: the sender's
neighbour has the address of a machine that is not there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from pyroute2 import IPRoute, NetlinkError

from demo.embedded import namespaces

NOBODY = "02:00:5e:10:00:01"
NUD_PERMANENT = 0x80


class Wires:
    """The hosts' sides of the wires between them, by the pid that holds a host and its address."""

    def __init__(self, hosts: Mapping[str, tuple[int, str]]) -> None:
        self._address_by_host = {name: address for name, (_, address) in hosts.items()}
        self._links: dict[str, IPRoute] = {}
        self._device: dict[str, int] = {}
        for name, (pid, _) in hosts.items():
            with namespaces.network_of(pid):
                self._links[name] = IPRoute()
                (self._device[name],) = self._links[name].link_lookup(ifname="eth0")

    def cut(self, one: str, other: str) -> None:
        """From now on nothing arrives, either way."""
        for here, there in ((one, other), (other, one)):
            self._links[here].neigh(
                "replace",
                dst=self._address_by_host[there],
                lladdr=NOBODY,
                ifindex=self._device[here],
                state=NUD_PERMANENT,
            )

    def mend(self, one: str, other: str) -> None:
        """All arrives again."""
        for here, there in ((one, other), (other, one)):
            try:
                self._links[here].neigh(
                    "del", dst=self._address_by_host[there], ifindex=self._device[here]
                )
            except NetlinkError as error:
                sys.stderr.write(f"{here}: {error}\n")


def main() -> None:
    """Obey until the input ends."""
    wires = Wires({name: (pid, address) for name, pid, address in json.loads(sys.stdin.readline())})
    print("ready", flush=True)
    for line in sys.stdin:
        word, one, other = line.split()
        (wires.cut if word == "cut" else wires.mend)(one, other)
        print(json.dumps({}), flush=True)


if __name__ == "__main__":
    main()
