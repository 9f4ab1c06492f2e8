"""Whose agents hold what the datastore lacks, as the controller judges it."""

from collections.abc import Mapping

from calico.cluster import ObjectionRecord, Takeover
from calico.codec import decode_chain, decode_objection
from calico.datastore.api import Stored
from calico.keys import CHAIN, CLUSTER_GUID, parse_forgotten_key, parse_objection_key
from calico.model import HostName, HostRecord
from reconciler.core.adoption import is_taken_over


class Objections:
    """What hosts tell of an earlier store, and what became of that, key by key."""

    def __init__(self) -> None:
        #: None of a host whose word cannot be read.
        self._told: dict[HostName, ObjectionRecord | None] = {}
        self._chain: tuple[Takeover, ...] = ()
        self._guid = ""
        self._forgotten: set[HostName] = set()

    def take(self, stored: Stored) -> bool:
        """Take one entry in; tells whether it is of these. Raises InvalidValue."""
        key, text = stored.key, stored.value
        if (host := parse_objection_key(key)) is not None:
            self._told[host] = None
            self._told[host] = decode_objection(host, text)
        elif (host := parse_forgotten_key(key)) is not None:
            self._forgotten.add(host)
        elif key == CHAIN:
            self._chain = decode_chain(text)
        elif key == CLUSTER_GUID:
            self._guid = text
        else:
            return False
        return True

    def objecting(self, hosts: Mapping[HostName, HostRecord]) -> frozenset[HostName]:
        """Hosts whose word was not dealt with, and that nobody declared gone."""
        # One that has registered since is back.
        forgotten = self._forgotten - hosts.keys()
        forgotten |= {name for name, host in hosts.items() if host.forgotten}
        return frozenset(
            host
            for host, record in self._told.items()
            if host not in forgotten
            and not (record is not None and is_taken_over(record, self._chain, self._guid))
        )

    def told_of(self) -> frozenset[HostName]:
        """All hosts that an earlier store knew, by the word of any."""
        records = (record for record in self._told.values() if record is not None)
        return frozenset(self._told).union(*(each.hosts for each in records))
