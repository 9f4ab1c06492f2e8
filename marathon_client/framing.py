"""Bytes of an event stream, cut into whole events; pure.

Lines end in CRLF, CR or LF, and a CRLF may be split over two reads: Marathon
sends its heartbeat, a bare CRLF, as two segments. A CR therefore ends its line
at once, and a LF that follows it is swallowed. What is left when the stream
ends is no event: a cut connection looks like a normal end.
"""

from marathon_client.errors import MarathonUnavailable

MOST_EVENT_BYTES = 16 * 1024 * 1024


class Framer:
    """Takes what was read, gives whole events with LF line ends."""

    def __init__(self, most_bytes: int = MOST_EVENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._pending = bytearray()
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that this chunk completes; raises when one grows too large."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        pending = self._pending
        # A blank line may begin with the last byte that was searched before.
        start = max(len(pending) - 1, 0)
        pending += chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[bytes] = []
        begin = 0
        while (end := pending.find(b"\n\n", start)) >= 0:
            if event := bytes(pending[begin:end]).lstrip(b"\n"):
                events.append(event + b"\n\n")
            begin = start = end + 2
        del pending[:begin]
        while pending.startswith(b"\n"):
            del pending[:1]
        if len(pending) > self._most_bytes:
            raise MarathonUnavailable(
                f"an event is larger than {self._most_bytes} bytes: the stream is opened anew"
            )
        return events
