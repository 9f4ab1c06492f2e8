"""One prefix of the datastore as an agent was told of it, and as it was before."""

from dataclasses import dataclass, field

from calico.datastore.api import Key, Put, Removed, Revision, Stored, WatchEvent


@dataclass
class RawPrefix:
    """A prefix as the store tells it, kept to be written to the state file.

    `revision` is that of its newest event, `reached` the index of the store up
    to which there was no other, None if that is not known. `before` are the
    values that were changed since it was believed last, None for what was not
    there.
    """

    revision: Revision
    reached: Revision | None
    entries: dict[Key, Stored] = field(default_factory=dict)
    before: dict[Key, Stored | None] = field(default_factory=dict)

    def apply(self, event: WatchEvent) -> None:
        """Take one event in, and remember what it replaced."""
        match event:
            case Put(stored):
                self.before.setdefault(stored.key, self.entries.get(stored.key))
                self.entries[stored.key] = stored
                self.revision = max(self.revision, stored.revision)
            case Removed(key, revision):
                below = key + "/"
                gone = [key] if key in self.entries else None
                for each in gone or [k for k in self.entries if k.startswith(below)]:
                    self.before.setdefault(each, self.entries.pop(each))
                self.revision = max(self.revision, revision)
        self.advance(self.revision)

    def advance(self, revision: Revision) -> None:
        """All up to this index of the store was told."""
        if self.reached is not None:
            self.reached = max(self.reached, revision)

    def believed(self) -> dict[Key, Stored]:
        """The entries as they were believed last."""
        if not self.before:
            return self.entries
        former = {key: stored for key, stored in self.before.items() if stored is not None}
        kept = {key: each for key, each in self.entries.items() if key not in self.before}
        return kept | former
