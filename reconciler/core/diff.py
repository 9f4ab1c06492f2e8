"""The difference between what is wanted and what is there."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Delta(Generic[K]):
    """Keys by what has to happen to them; every key is in one set at most."""

    created: frozenset[K]
    updated: frozenset[K]
    deleted: frozenset[K]

    @property
    def is_empty(self) -> bool:
        """Whether desired and observed are the same."""
        return not (self.created or self.updated or self.deleted)


def diff(desired: Mapping[K, object], observed: Mapping[K, object]) -> Delta[K]:
    """Compare two states by key and value."""
    return Delta(
        created=frozenset(desired.keys() - observed.keys()),
        updated=frozenset(
            key for key in desired.keys() & observed.keys() if desired[key] != observed[key]
        ),
        deleted=frozenset(observed.keys() - desired.keys()),
    )
