"""This host's whole network as the kernel tells it, whoever owns it: for people.

Read once, by any thread; nothing is changed.
"""

import json
from collections.abc import Callable, Iterable, Mapping

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from calico.dataplane.nft.library import NftTable
from calico.errors import DataplaneError

_RULESET = json.dumps({"nftables": [{"list": {"ruleset": None}}]})
#: What is about the message, not about the network.
_ENVELOPE = frozenset({"header", "event"})

Reader = Callable[[], object]


def _nftables() -> object:
    table = NftTable()
    table.open()
    try:
        return json.loads(table.ask(_RULESET))
    finally:
        table.close()


def _told(ask: Callable[[IPRoute], Iterable[object]]) -> Reader:
    def read() -> object:
        try:
            with IPRoute() as kernel:
                return [_plain(each) for each in ask(kernel)]
        except (NetlinkError, OSError) as error:
            raise DataplaneError(f"the kernel does not tell: {error}") from error

    return read


def _plain(value: object) -> object:
    """A message as JSON has it; names of attributes may repeat, so they stay a list."""
    match value:
        case Mapping():
            return {
                str(name): _plain(each) for name, each in value.items() if name not in _ENVELOPE
            }
        case list() | tuple():
            return [_plain(each) for each in value]
        case bool() | int() | float() | str() | None:
            return value
        case bytes():
            return value.hex()
        case _:
            return str(value)


#: What there is -> how it is read; each raises DataplaneError.
INVENTORY: Mapping[str, Reader] = {
    "nftables": _nftables,
    "links": _told(lambda kernel: kernel.get_links()),
    "addresses": _told(lambda kernel: kernel.get_addr()),
    "routes": _told(lambda kernel: kernel.get_routes()),
    "rules": _told(lambda kernel: kernel.get_rules()),
    "neighbours": _told(lambda kernel: kernel.get_neighbours()),
}
