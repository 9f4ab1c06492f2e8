"""A store in front of another one, for faults to be put in between."""

from collections.abc import Callable
from typing import TypeVar

from calico.datastore.api import DirectoryStore, Key, Listing, Revision, Stored, Watch

T = TypeVar("T")


class DelegatingStore:
    """Hands all calls on; `read` and `write` are what becomes of each call but a watch."""

    def __init__(self, store: DirectoryStore) -> None:
        self._store = store

    def get(self, key: Key) -> Stored | None:
        return self.read("get", key, lambda: self._store.get(key))

    def list(self, prefix: Key) -> Listing:
        return self.read("list", prefix, lambda: self._store.list(prefix))

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        return self.write("put", key, lambda: self._store.put(key, value, expect=expect, ttl=ttl))

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        self.write("delete", key, lambda: self._store.delete(key, expect=expect))

    def make_directory(self, key: Key) -> None:
        self.write("make directory", key, lambda: self._store.make_directory(key))

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        return self._store.watch(prefix, after, timeout)

    def read(self, _verb: str, _key: Key, read: Callable[[], T]) -> T:
        return read()

    def write(self, _verb: str, _key: Key, write: Callable[[], T]) -> T:
        return write()
