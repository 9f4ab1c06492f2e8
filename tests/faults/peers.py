"""Members of etcd that do not hear each other, by the doors before them: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def ways(member: str, others: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each door, and the speaker there, by which one member and these others hear each other."""
    for other in others:
        yield member, other
        yield other, member
