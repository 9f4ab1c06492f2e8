"""Answers questions about names, by UDP and TCP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

# It has no types of its own and no stubs.
from dnslib import QTYPE, RCODE, RR, SOA, SRV, A  # type: ignore[import-untyped]  # it has no types
from dnslib.server import BaseResolver, DNSServer  # type: ignore[import-untyped]  # it has no types

from demo.names.records import Records

TTL = 1
#: As often is read what there is, at most.
FRESH_SECONDS = 0.25
#: As Mesos-DNS says it of its domain; only how long a denial counts (the last of
#: the times) is as short as all else here.
DOMAIN, SERVER, MAILBOX = "mesos.", "ns1.mesos.", "root.ns1.mesos."
TIMES = (1, 60, 600, 86400, TTL)
ATTEMPTS = 10


class Resolver(BaseResolver):  # type: ignore[misc] # dnslib has no types
    """What `read` told last; names of hosts become addresses by `address_of`."""

    def __init__(
        self, read: Callable[[], Records | None], address_of: Callable[[str], str | None]
    ) -> None:
        self._read = read
        self._address_of = address_of
        self._lock = threading.Lock()
        self._records: Records | None = None
        self._read_at = float("-inf")

    def resolve(self, request: Any, _handler: object) -> Any:
        """The reply to one question."""
        reply = request.reply()
        records = self._present()
        if records is None:
            reply.header.rcode = RCODE.SERVFAIL
            return reply
        asked = request.q.qname
        name = str(asked).rstrip(".").lower()
        if name not in records.hosts and name not in records.services:
            reply.header.rcode = RCODE.NXDOMAIN
            reply.add_auth(_authority())
            return reply
        if request.q.qtype in (QTYPE.A, QTYPE.ANY):
            for host in records.hosts.get(name, ()):
                if (address := self._address_of(host)) is not None:
                    reply.add_answer(RR(asked, QTYPE.A, ttl=TTL, rdata=A(address)))
        if request.q.qtype in (QTYPE.SRV, QTYPE.ANY):
            for target, port in records.services.get(name, ()):
                reply.add_answer(RR(asked, QTYPE.SRV, ttl=TTL, rdata=SRV(0, 0, port, target)))
        if not reply.rr:
            reply.add_auth(_authority())
        return reply

    def _present(self) -> Records | None:
        """Not older than a moment; what was read last counts while nothing can be read."""
        with self._lock:
            now = time.monotonic()
            if now - self._read_at >= FRESH_SECONDS:
                self._records = self._read() or self._records
                self._read_at = now
            return self._records


def _authority() -> Any:
    """Whose word it is that there is no such name or record (RFC 2308)."""
    return RR(DOMAIN, QTYPE.SOA, ttl=TTL, rdata=SOA(SERVER, MAILBOX, TIMES))


class NameServer:
    """Serves both protocols of one address while it is entered; port 0 is any free one."""

    def __init__(self, resolver: Resolver, address: tuple[str, int]) -> None:
        self._resolver = resolver
        self._address = address
        self._servers: list[Any] = []

    def __enter__(self) -> NameServer:
        for attempt in range(ATTEMPTS):
            try:
                self._servers = self._bound()
                break
            except OSError:
                # Any number was asked for, and this one is taken for the other protocol.
                if self._address[1] or attempt == ATTEMPTS - 1:
                    raise
        for server in self._servers:
            server.start_thread()
        return self

    def __exit__(self, *_error: object) -> None:
        for server in self._servers:
            server.stop()
            server.server.server_close()

    def _bound(self) -> list[Any]:
        """One server for each protocol, on the same number."""
        host, port = self._address
        # Datagrams first: their socket would share a number that is taken.
        datagrams = DNSServer(self._resolver, host, port, logger=_Silent())
        port = datagrams.server.server_address[1]
        try:
            streams = DNSServer(self._resolver, host, port, tcp=True, logger=_Silent())
        except OSError:
            datagrams.server.server_close()
            raise
        return [datagrams, streams]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._servers[0].server.server_address[1])


class _Silent:
    """Tells nothing of each question."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("log_"):
            raise AttributeError(name)
        return lambda *_arguments: None
