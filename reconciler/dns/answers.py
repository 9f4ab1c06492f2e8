"""What a question is answered with, from the zone; or that others must be asked.

What a name is answered with is packed once and kept until its records change;
id and question are put in front of it.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from netaddr import IPNetwork

from reconciler.dns import wire
from reconciler.dns.names import Name, Record, Service
from reconciler.dns.reverse import is_above_addresses, is_reverse, reverse_apexes
from reconciler.dns.wire import Query
from reconciler.dns.zone import AAAA, NS, PTR, SOA, SRV, A, Zone, ancestors

HTTPS = 65
#: Types that clients ask for all the time: what they get is kept, also if it is nothing.
_KEPT = (A, NS, PTR, AAAA, SRV, HTTPS)
_REFUSED = frozenset({wire.AXFR, wire.IXFR})
_NOT_KNOWN = frozenset({wire.MAILA, wire.MAILB, wire.TKEY, wire.TSIG})
#: Names with more records are not kept: some of theirs are taken for each answer.
MOST_KEPT = 1000
#: With more services than these their addresses are not sent along.
MOST_HELPED = 50


class Elsewhere:
    """Others have to be asked."""


ELSEWHERE = Elsewhere()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The records for one name and type, packed.

    `helpful` are about the targets of the records; `size` and `largest` are in
    bytes and of the records alone, `left_out` says that the name has more.
    """

    records: tuple[bytes, ...]
    size: int = 0
    largest: int = 0
    helpful: tuple[bytes, ...] = ()
    authority: bytes = b""
    left_out: bool = False


class Answers:
    """Answers from one zone; owned by the thread that owns the zone."""

    def __init__(self, zone: Zone, serial: int, chance: random.Random) -> None:
        self._zone = zone
        self._serial = serial
        self._chance = chance
        self._pools: frozenset[IPNetwork] = frozenset()
        self._reverse: frozenset[Name] = frozenset()
        self._prepared: dict[tuple[Name, int], _Prepared] = {}
        self._authorities: dict[Name, bytes] = {}
        self._complete = False
        self._forwarding = False
        self._available = 0

    def update(
        self,
        pools: Iterable[IPNetwork],
        *,
        complete: bool,
        recursive: bool,
        forwarding: bool = False,
    ) -> None:
        """Take in what changed; not `complete` means that names may be missing.

        `pools` are where addresses are that have names; `recursive` says
        whether there is anybody to ask about other names, `forwarding` whether
        others may have names of the zone.
        """
        found = frozenset(pools)
        if found != self._pools:
            self._pools, self._reverse = found, reverse_apexes(found)
        for name in self._zone.take_touched():
            for kind in _KEPT:
                self._prepared.pop((name, kind), None)
        self._complete = complete
        self._forwarding = forwarding
        self._available = wire.RECURSION_AVAILABLE if recursive else 0

    def answer(self, query: Query, limit: int) -> bytes | Elsewhere:
        """What to send, of at most `limit` bytes; or that others must be asked."""
        refusal = _refusal(query)
        if refusal is not None:
            return refusal
        prepared = self._prepared.get((query.name, query.kind))
        return (
            self._answer_rest(query, limit)
            if prepared is None
            else self._send(query, prepared, limit)
        )

    def fail(self, query: Query) -> bytes:
        """What to send if those who were asked do not answer."""
        return wire.respond(query, self._available | wire.SERVFAIL)

    def refuse(self, query: Query) -> bytes:
        """What to send to those who may not ask."""
        return wire.respond(query, wire.REFUSED)

    def _answer_rest(self, query: Query, limit: int) -> bytes | Elsewhere:
        name = query.name
        apex = self._apex_of(name)
        if not self._complete and (apex is not None or is_reverse(name)):
            return self.fail(query)
        if apex is None:
            if query.flags & wire.RECURSION_DESIRED and self._available:
                return ELSEWHERE
            return wire.respond(query, self._available | wire.REFUSED)
        if not (self._zone.exists(name) or name == apex or is_above_addresses(name)):
            forwarded = self._forwarding and apex == self._zone.apex
            if forwarded and query.flags & wire.RECURSION_DESIRED:
                return ELSEWHERE
            flags = wire.AUTHORITATIVE | wire.NXDOMAIN | self._available
            return wire.respond(query, flags, authorities=(1, self._authority(apex)))
        prepared = self._prepare(query, apex, limit)
        if query.kind in _KEPT and name in self._zone and not prepared.left_out:
            self._prepared[name, query.kind] = prepared
        return self._send(query, prepared, limit)

    def _apex_of(self, name: Name) -> Name | None:
        """The zone of ours that a name is in; None if it is in none."""
        if self._zone.covers(name):
            return self._zone.apex
        if not self._reverse or not is_reverse(name):
            return None
        return next((each for each in (name, *ancestors(name)) if each in self._reverse), None)

    def _authority(self, apex: Name) -> bytes:
        packed = self._authorities.get(apex)
        if packed is None:
            packed = wire.pack_authority(apex, self._zone.server, self._serial)
            self._authorities[apex] = packed
        return packed

    def _prepare(self, query: Query, apex: Name, limit: int) -> _Prepared:
        name, kind = query.name, query.kind
        if kind == wire.ANY:
            # One kind is enough, and small (RFC 8482).
            kind = next(iter(self._zone.kinds(name)), A)
        if kind == SOA and name == apex:
            return _prepared((self._authority(apex),))
        records: Sequence[Record] = tuple(self._zone.records(name, kind))
        if not records:
            return _Prepared((), authority=self._authority(apex))
        left_out = len(records) > MOST_KEPT
        if left_out:
            records = self._chance.sample(records, min(len(records), _most(limit)))
        return _prepared(
            tuple(map(wire.pack_answer, records)),
            tuple(self._helpful(records)),
            left_out=left_out,
        )

    def _helpful(self, records: Sequence[Record]) -> Iterator[bytes]:
        """The addresses of the services."""
        targets = {each.target for each in records if isinstance(each, Service)}
        if len(targets) > MOST_HELPED:
            return
        for target in sorted(targets):
            for kind in (A, AAAA):
                for record in self._zone.records(target, kind):
                    yield wire.pack_record(target, record)

    def _send(self, query: Query, prepared: _Prepared, limit: int) -> bytes:
        records: Sequence[bytes] = prepared.records
        flags = wire.AUTHORITATIVE | self._available
        room = limit - wire.HEADER_SIZE - len(query.asked) - len(prepared.authority)
        if query.extension is not None:
            room -= wire.EXTENSION_SIZE
        if records and prepared.size > room:
            records = self._chance.sample(records, room // prepared.largest)
        elif len(records) > 1:
            records = self._chance.sample(records, len(records))
        if limit < wire.LARGEST_MESSAGE and (
            prepared.left_out or len(records) < len(prepared.records)
        ):
            flags |= wire.TRUNCATED
        helpful = (
            prepared.helpful if sum(map(len, prepared.helpful)) <= room - prepared.size else ()
        )
        return wire.respond(
            query,
            flags,
            answers=(len(records), b"".join(records)),
            authorities=(1 if prepared.authority else 0, prepared.authority),
            additional=(len(helpful), b"".join(helpful)),
        )


def _prepared(
    records: tuple[bytes, ...], helpful: tuple[bytes, ...] = (), *, left_out: bool = False
) -> _Prepared:
    sizes = tuple(map(len, records))
    return _Prepared(
        records=records, size=sum(sizes), largest=max(sizes), helpful=helpful, left_out=left_out
    )


def _most(limit: int) -> int:
    """More records than these fit in no message of that size."""
    return limit // wire.SMALLEST_RECORD


def _refusal(query: Query) -> bytes | None:
    """The answer to what is not even looked up."""
    extension = query.extension
    if extension is not None and extension.version:
        return wire.respond_bad_version(query)
    if query.flags & wire.OPCODE or query.kind in _NOT_KNOWN:
        return wire.respond(query, wire.NOTIMP)
    if query.category != wire.IN or query.kind in _REFUSED:
        return wire.respond(query, wire.REFUSED)
    return None
