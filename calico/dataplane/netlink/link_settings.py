"""What the host's side of a task's veth is like, and whether one still is: pure.

The kernel gives the settings of a device along with the device, as an array of
each family, so looking at them costs no file of /proc/sys.
"""

import struct
import sys
from collections.abc import Mapping

from calico.dataplane.netlink.wire import Request, attribute, attributes
from calico.dataplane.state import HOST_MAC

RTM_SETLINK, NLM_F_ACK = 19, 0x4
AF_INET, AF_INET6 = 2, 10
IFLA_ADDRESS, IFLA_AF_SPEC = 1, 26
IFLA_INET_CONF, IFLA_INET6_CONF = 1, 2

#: IPv4 settings of a veth's host side, by their IPV4_DEVCONF number. Reverse
#: path checks look into the tasks' own table only if they heed the mark.
HOST_SIDE_IPV4 = {
    1: 1,  # forwarding
    3: 0,  # proxy_arp
    4: 0,  # accept_redirects
    6: 0,  # send_redirects
    8: 1,  # rp_filter
    9: 0,  # accept_source_route
    19: 1,  # arp_ignore: the host's own addresses are not the task's neighbours
    23: 0,  # accept_local
    24: 1,  # src_valid_mark
    26: 0,  # route_localnet
}
IPV6_OFF = {"disable_ipv6": "1"}
HOST_SIDE_IPV6 = {"disable_ipv6": "0", "accept_ra": "0", "accept_redirects": "0", "forwarding": "1"}

#: The same by their DEVCONF number; they hold while IPv6 is not disabled.
_IPV6 = {3: 0, 4: 0, 0: 1}
_DISABLE_IPV6 = 26
_SRC_VALID_MARK = 24
_LINK = struct.Struct("=BxHiII")


def as_made(link: Mapping[int, bytes]) -> bool:
    """Whether a device, by its attributes, has the MAC address and settings of our side."""
    if link.get(IFLA_ADDRESS) != HOST_MAC.packed:
        return False
    families = attributes(link.get(IFLA_AF_SPEC, b""), 0)
    ipv4 = _settings(families, AF_INET, IFLA_INET_CONF)
    if ipv4 and any(_value(ipv4, number - 1) != value for number, value in HOST_SIDE_IPV4.items()):
        return False
    ipv6 = _settings(families, AF_INET6, IFLA_INET6_CONF)
    if not ipv6 or _value(ipv6, _DISABLE_IPV6):
        return True
    return all(_value(ipv6, number) == value for number, value in _IPV6.items())


def heeds_mark(body: bytes) -> bool:
    """Whether the reverse path check of a device, by its message, looks at marks."""
    families = attributes(attributes(body, _LINK.size).get(IFLA_AF_SPEC, b""), 0)
    return _value(_settings(families, AF_INET, IFLA_INET_CONF), _SRC_VALID_MARK - 1) == 1


def link_index(body: bytes) -> int:
    """The index of the device that a message is about."""
    return int(_LINK.unpack_from(body)[2])


def restore_address(index: int) -> Request:
    """Give a host's side its MAC address back."""
    body = _LINK.pack(0, 0, index, 0, 0) + attribute(IFLA_ADDRESS, HOST_MAC.packed)
    return Request(f"address device {index}", RTM_SETLINK, NLM_F_ACK, body)


def _settings(families: Mapping[int, bytes], family: int, kind: int) -> bytes:
    return attributes(families.get(family, b""), 0).get(kind, b"")


def _value(settings: bytes, position: int) -> int:
    return int.from_bytes(settings[position * 4 : position * 4 + 4], sys.byteorder)
