"""Takes one message in, from anyone, and says what becomes of it."""

from reconciler.dns import wire
from reconciler.dns.answers import Answers, Elsewhere
from reconciler.dns.metrics import DnsMetrics
from reconciler.dns.serving.access import Access
from reconciler.dns.wire import Query


class QueryHandler:
    """Answers the messages of all sockets."""

    def __init__(self, answers: Answers, access: Access, metrics: DnsMetrics) -> None:
        self._answers = answers
        self._access = access
        self._metrics = metrics

    def ask(self, message: bytes, peer: str, *, stream: bool) -> bytes | Query | None:
        """The answer; the question itself if others must be asked; None for silence."""
        if len(message) < wire.HEADER_SIZE or message[2] & 0x80:
            # An answer to an answer would go back and forth for ever.
            self._metrics.malformed.inc()
            return None
        admitted = self._access.admits(peer)
        try:
            query = wire.read_query(message)
        except wire.Malformed:
            self._metrics.malformed.inc()
            return wire.respond_error(message, wire.FORMERR) if admitted else None
        if not admitted:
            self._metrics.refused.inc()
            return self._answers.refuse(query)
        limit = wire.LARGEST_MESSAGE if stream else wire.datagram_size(query)
        answer = self._answers.answer(query, limit)
        if isinstance(answer, Elsewhere):
            self._metrics.forwarded.inc()
            return query
        self._metrics.answered.inc()
        return answer

    def fail(self, query: Query) -> bytes:
        """The answer if those who were asked do not answer."""
        self._metrics.failed.inc()
        return self._answers.fail(query)
