"""Takes a host out of the datastore that an operator declared gone.

Nobody waits for it from then on. What leads packets to it - its registration
and the affinity of its blocks - stays until its addresses are free: a host that
is only cut off may still run its tasks.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from netaddr import IPNetwork

from calico import codec
from calico.addressing.audit import lent_to_containers
from calico.addressing.books import Books, decode_books
from calico.cluster import HoldKind
from calico.datastore.api import DirectoryStore, Key
from calico.errors import Conflict, InvalidValue
from calico.identifiers import check_host
from calico.keys import (
    BGP,
    ENDPOINTS,
    FELIX,
    IPAM,
    OBJECTIONS,
    affinity_key,
    applied_key,
    block_key,
    forgotten_key,
    hold_key,
    host_key,
    objection_key,
    parse_endpoint_key,
    parse_objection_key,
    parse_status_key,
    reaches_etcd,
)
from calico.model import ORCHESTRATOR, EndpointId, HostName
from reconciler.controller.bootstrap import bootstrap_host, directories_of_host, keys_of_host

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a host: blocks with addresses in use, and endpoints."""

    blocks: tuple[IPNetwork, ...] = ()
    endpoints: int = 0

    def __bool__(self) -> bool:
        return bool(self.blocks or self.endpoints)


class Departure:
    """Forgets hosts; any number of them at once, as often as one likes."""

    def __init__(self, datastore: DirectoryStore) -> None:
        self._datastore = datastore

    def forget(self, host: HostName) -> None:
        """Have nobody wait for a host any more; raises DatastoreError.

        Conflict means that its agent has just registered again. Where the store
        lacks what hosts know, they may wait for one that is not registered in it.
        """
        if self._is_awaited(host):
            self._datastore.put(forgotten_key(host), "{}")
            log.info("host is not waited for", extra={"host": host})
        key = host_key(host)
        stored = self._datastore.get(key)
        if stored is not None:
            try:
                record = codec.decode_host(host, stored.value)
            except InvalidValue:
                # It leads nowhere either.
                self._datastore.delete(key, expect=stored.revision)
            else:
                if not record.forgotten:
                    text = codec.encode_host(replace(record, forgotten=True))
                    self._datastore.put(key, text, expect=stored.revision)
                    log.info("host forgotten", extra={"host": host})
        told = self._datastore.get(applied_key(host))
        if told is not None:
            self._datastore.delete(told.key, expect=told.revision)

    def clear(self, host: HostName) -> Remains:
        """Give up what a forgotten host no longer needs, and say what is left.

        Once nothing is, its own keys go too, the registration last, so that an
        interrupted attempt is taken up again; without one only what an agent of
        ours tells of tasks is known to be ours.
        Raises DatastoreError; Conflict if something changed meanwhile.
        """
        registration = self._datastore.get(host_key(host))
        if registration is not None and not _is_forgotten(host, registration.value):
            raise Conflict(f"host {host} has registered again")
        endpoints = self._endpoints(host)
        remains = Remains(tuple(self._give_up_blocks(host)), len(endpoints))
        if not remains:
            # It would be taken over from once more when its takeover is forgotten.
            self._take_away(objection_key(host), is_directory=False)
        for stored in self._datastore.list(Key(f"{FELIX}/{host}")).entries:
            endpoint = parse_status_key(stored.key)
            if not reaches_etcd(stored.key):
                # Another agent's, of a workload that we never have.
                continue
            if registration is None and not _is_ours(endpoint, stored.value):
                # Another agent's of a host that is none of ours.
                continue
            if not remains or (endpoint is not None and endpoint not in endpoints):
                self._datastore.delete(stored.key, expect=stored.revision)
        if remains or registration is None:
            return remains
        needed = self._needed_by_others(host)
        directories = directories_of_host(host)
        for key in keys_of_host(host):
            if key not in needed:
                self._take_away(key, is_directory=key in directories)
        try:
            self._datastore.delete(host_key(host), expect=registration.revision)
        except Conflict:
            self._give_back(host)
            raise
        log.info("host removed", extra={"host": host})
        return remains

    def _is_awaited(self, host: HostName) -> bool:
        """Whether what a host held of an earlier store is waited for, or may be."""
        with suppress(InvalidValue):
            waits = self._datastore.get(hold_key(HoldKind.STORE))
            if (
                waits is not None
                and host in codec.decode_hold(HoldKind.STORE, waits.value).subjects
            ):
                return True
        for stored in self._datastore.list(OBJECTIONS).entries:
            teller = parse_objection_key(stored.key)
            if teller == host:
                return True
            with suppress(InvalidValue):
                if (
                    teller is not None
                    and host in codec.decode_objection(teller, stored.value).hosts
                ):
                    return True
        return False

    def _take_away(self, key: Key, *, is_directory: bool) -> None:
        """Remove one key of a host as it is now.

        A directory in which somebody else keeps something stays, and so does
        what is written in this very moment. A directory goes however late that
        is sent; of a host that is back the registrar makes it anew.
        """
        stored = self._datastore.get(key)
        if stored is None and not is_directory:
            return
        with suppress(Conflict):
            self._datastore.delete(key, expect=None if stored is None else stored.revision)

    def _give_back(self, host: HostName) -> None:
        """Write anew what was taken from a host that registered in that very moment.

        The controller may have written it before, and does so once.
        """
        stored = self._datastore.get(host_key(host))
        if stored is not None:
            with suppress(InvalidValue):
                bootstrap_host(self._datastore, codec.decode_host(host, stored.value))

    def _needed_by_others(self, host: HostName) -> frozenset[Key]:
        """The address of a host whose BGP peers an operator named: confd fails without it."""
        own = frozenset(keys_of_host(host))
        listed = self._datastore.list(Key(f"{BGP}/host/{check_host(host)}")).entries
        theirs = any(stored.key not in own for stored in listed)
        return frozenset({Key(f"{BGP}/host/{host}/ip_addr_v4")}) if theirs else frozenset()

    def _endpoints(self, host: HostName) -> frozenset[EndpointId]:
        listing = self._datastore.list(Key(f"{ENDPOINTS}/{check_host(host)}/workload"))
        parsed = (parse_endpoint_key(stored.key) for stored in listing.entries)
        return frozenset(endpoint for endpoint in parsed if endpoint is not None)

    def _give_up_blocks(self, host: HostName) -> Iterator[IPNetwork]:
        """Give a host's empty blocks and vain claims up; those that are in use are told."""
        books = decode_books(self._datastore.list(IPAM).entries)
        # What its containers hold of others' blocks only a sweep gives back, and
        # that ends when nobody knows the host any more.
        yield from lent_to_containers(books, host)
        claimed = {cidr for owner, cidr in books.affinities if owner == host}
        own = {cidr for cidr, block in books.blocks.items() if block.affinity == host}
        for cidr in sorted(claimed | own):
            if books.is_unreadable(cidr) or (cidr in own and _is_in_use(books, cidr)):
                yield cidr
                continue
            if cidr in own:
                revision = books.revisions[block_key(cidr)]
                self._datastore.delete(block_key(cidr), expect=revision)
                log.info("block given up", extra={"host": host, "block": cidr})
            if cidr in claimed:
                key = affinity_key(host, cidr)
                self._datastore.delete(key, expect=books.revisions[key])


def _is_forgotten(host: HostName, text: str) -> bool:
    try:
        return codec.decode_host(host, text).forgotten
    except InvalidValue:
        return False


def _is_in_use(books: Books, cidr: IPNetwork) -> bool:
    return any(books.blocks[cidr].allocations)


def _is_ours(endpoint: EndpointId | None, status: str) -> bool:
    """Whether an agent of ours told this: Felix, who registers nothing, tells no revisions."""
    if endpoint is None or endpoint.orchestrator != ORCHESTRATOR:
        return False
    try:
        return codec.decode_status(status).revision > 0
    except InvalidValue:
        return False
