"""Messages in a stream: each follows its length in two bytes; pure."""

from reconciler.dns.wire import LARGEST_MESSAGE


def framed(message: bytes) -> bytes:
    """A message as a stream carries it."""
    return len(message).to_bytes(2) + message


class Frames:
    """Cuts what a stream brings into messages."""

    def __init__(self, longest: int = LARGEST_MESSAGE) -> None:
        self._longest = longest
        self._rest = b""

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._rest)

    def take(self, received: bytes) -> list[bytes]:
        """The messages that are complete now; raises ValueError if one is too long."""
        data, at = self._rest + received, 0
        messages = []
        while len(data) - at >= 2:
            length = int.from_bytes(data[at : at + 2])
            if length > self._longest:
                raise ValueError(f"a message of {length} bytes")
            if len(data) - at - 2 < length:
                break
            messages.append(data[at + 2 : at + 2 + length])
            at += 2 + length
        self._rest = data[at:]
        return messages
