"""The hosts that agents registered, as the controller's loop knows them."""

from calico.codec import decode_host
from calico.datastore.api import Key, Listing, Revision, Stored
from calico.errors import InvalidValue
from calico.keys import parse_host_key
from calico.model import HostName, HostRecord


class Registrations:
    """What is below HOSTS as last listed or told by an event; one thread owns it."""

    def __init__(self) -> None:
        self.hosts: dict[HostName, HostRecord] = {}
        #: Hosts that are registered by something that cannot be read.
        self.unclear: set[HostName] = set()
        #: Hosts that an operator declared gone, until nothing is left of them.
        self.forgotten: set[HostName] = set()
        #: Hosts that may have been away since this was emptied last, also if they
        #: are back as they were: their keys may have been taken away meanwhile.
        self.departed: set[HostName] = set()
        self._revisions: dict[HostName, Revision] = {}

    def names(self) -> frozenset[HostName]:
        """Every host to wait for, also those that cannot be understood."""
        return frozenset(self.hosts) | self.unclear

    def load(self, listing: Listing) -> None:
        """Replace all by a listing."""
        before = self._revisions
        self._drop_all()
        for stored in listing.entries:
            self.put(stored)
        # Of what happened in between only the revisions tell.
        now = self._revisions
        self.departed |= {host for host in before if before[host] != now.get(host)}

    def put(self, stored: Stored) -> None:
        """Take one registration in."""
        host = parse_host_key(stored.key)
        if host is None:
            return
        self._drop(host)
        self._revisions[host] = stored.revision
        try:
            record = decode_host(host, stored.value)
        except InvalidValue:
            self.unclear.add(host)
            return
        if record.forgotten:
            self.forgotten.add(host)
            self.departed.add(host)
        else:
            self.hosts[host] = record

    def remove(self, key: Key) -> None:
        """A key is gone; what is above the hosts' keys takes all along."""
        host = parse_host_key(key)
        if host is None:
            self.departed |= self.hosts.keys()
            self._drop_all()
        else:
            self._drop(host)
            self.departed.add(host)

    def _drop_all(self) -> None:
        self._revisions = {}
        self.hosts, self.unclear, self.forgotten = {}, set(), set()

    def _drop(self, host: HostName) -> None:
        self._revisions.pop(host, None)
        self.hosts.pop(host, None)
        self.unclear.discard(host)
        self.forgotten.discard(host)
