"""Whether a container's addresses are no longer its own, by the store that is believed.

The allocator looks at what answers just then. That may be a store that was wiped
or set back, which the loop does not know of as long as its watches hang.
"""

from collections.abc import Collection, Mapping

from netaddr import IPAddress

from calico.addressing.ipam import allocation_of, block_of
from calico.codec import decode_block
from calico.datastore.api import Key, Stored
from calico.errors import InvalidValue
from calico.keys import block_key
from calico.model import HostName
from reconciler.agent.attachments.files import KeptAttachment


def has_lost(
    attachment: KeptAttachment,
    host: HostName,
    believed: Mapping[Key, Stored],
    untold: Collection[Key],
) -> bool:
    """Whether the blocks that are `believed` give an address of a container to nobody or others.

    Nothing is known of what was written here and is `untold` yet, nor of what
    cannot be read.
    """

    def is_lost(address: IPAddress) -> bool:
        cidr = block_of(address)
        key = block_key(cidr)
        if key in untold:
            return False
        if key not in believed:
            return True
        try:
            held = allocation_of(decode_block(cidr, believed[key].value), address)
        except InvalidValue:
            return False
        return held is None or not held.is_of(attachment.handle, host)

    return any(map(is_lost, attachment.addresses))
