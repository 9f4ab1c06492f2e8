"""The rtnetlink message that asks for a host's own addresses; pure.

Names and numbers are those of the kernel's headers.
"""

import struct

from calico.dataplane.netlink.messages import NLM_F_DUMP
from calico.dataplane.netlink.wire import Request

RTM_GETADDR = 22

_ADDRESS = struct.Struct("=BBBBI")


def dump_addresses() -> Request:
    """Ask for all addresses of the host."""
    return Request("list addresses", RTM_GETADDR, NLM_F_DUMP, bytes(_ADDRESS.size))
