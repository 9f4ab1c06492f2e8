"""Who may ask: by default this machine, the tasks and their hosts."""

from collections.abc import Iterable, Sequence

from netaddr import IPAddress, IPNetwork, IPSet

LOOPBACK = (IPNetwork("127.0.0.0/8"), IPNetwork("::1/128"))
#: So many askers are remembered; then all are looked up anew.
_MOST_REMEMBERED = 65536


class Access:
    """Admits askers by their addresses."""

    def __init__(
        self, allowed: tuple[IPNetwork, ...] | None, own: Iterable[IPAddress] = ()
    ) -> None:
        """`allowed` None means this machine, the pools and the hosts.

        `own` are the addresses that are listened at: whoever asks from one of
        them is on this machine, since kernels take no such source from outside.
        """
        self._allowed = allowed
        self._machine: tuple[IPNetwork | IPAddress, ...] = (*LOOPBACK, *own)
        self._networks = IPSet(self._machine if allowed is None else allowed)
        self._remembered: dict[str, bool] = {}

    def update(self, pools: Iterable[IPNetwork], hosts: Iterable[IPAddress]) -> None:
        """Take in where tasks and hosts are now."""
        if self._allowed is None:
            given: Sequence[IPNetwork | IPAddress] = (*self._machine, *pools, *hosts)
            self._networks = IPSet(given)
            self._remembered.clear()

    def admits(self, peer: str) -> bool:
        """Whether this address may ask; it is as the socket tells it."""
        known = self._remembered.get(peer)
        if known is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[peer] = _bare(peer) in self._networks
        return known


def _bare(peer: str) -> IPAddress:
    address = IPAddress(peer.partition("%")[0])
    if address.version == 6 and address.is_ipv4_mapped():
        return address.ipv4()
    return address
