"""The difference between what is wanted and what is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=str)


@dataclass(frozen=True, slots=True)
class Delta(Generic[K]):
    """Keys by what has to happen to them; every key is in one set at most."""

    created: frozenset[K]
    updated: frozenset[K]
    deleted: frozenset[K]

    @property
    def written(self) -> tuple[K, ...]:
        """Keys that must be created or updated, in order."""
        return tuple(sorted(self.created | self.updated))


def diff(desired: Mapping[K, object], observed: Mapping[K, object]) -> Delta[K]:
    """Compare two states by key and value."""
    if desired == observed:
        # Mostly it is so.
        return Delta(frozenset(), frozenset(), frozenset())
    return Delta(
        created=frozenset(desired.keys() - observed.keys()),
        updated=frozenset(
            key for key in desired.keys() & observed.keys() if desired[key] != observed[key]
        ),
        deleted=frozenset(observed.keys() - desired.keys()),
    )
