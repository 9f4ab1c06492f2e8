"""Which reverse names are ours: those of the pools; pure."""

from collections.abc import Iterable, Iterator

from netaddr import IPNetwork

from reconciler.dns.names import Name, labels_of, wire_name

_ARPA = b"\4arpa\0"
#: The labels of a whole address, `in-addr` and `arpa` among them.
_WHOLE = {b"\7in-addr\4arpa\0": 6, b"\3ip6\4arpa\0": 34}


def reverse_apexes(pools: Iterable[IPNetwork]) -> frozenset[Name]:
    """The reverse zones that make up the pools, each as large as labels allow.

    A pool that ends between two labels, such as a /12, makes several.
    """
    return frozenset(apex for pool in pools for apex in _apexes(pool))


def _apexes(pool: IPNetwork) -> Iterator[Name]:
    width = 8 if pool.version == 4 else 4
    whole = 32 if pool.version == 4 else 128
    length = -(-pool.prefixlen // width) * width
    for part in pool.subnet(length):
        labels = str(part.ip.reverse_dns).lower().rstrip(".").split(".")
        name = wire_name(labels[(whole - length) // width :])
        if name is not None:
            yield name


def is_reverse(name: Name) -> bool:
    """Whether it belongs to the names of addresses."""
    return name.endswith(_ARPA)


def is_above_addresses(name: Name) -> bool:
    """Whether it stands for many addresses, and not for one or for nothing."""
    for suffix, whole in _WHOLE.items():
        if name.endswith(suffix):
            return len(labels_of(name)) < whole
    return False
