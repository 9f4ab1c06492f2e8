"""A bundle holds what shows a fault, and no secret."""

import json
import stat
import tarfile
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest

from calico.errors import DatastoreUnavailable
from reconciler.cli.diags.bundle import FOLDER, Bundle, Limits, write_file
from reconciler.cli.diags.redaction import MASK, Redaction
from reconciler.runtime.clock import SYSTEM_CLOCK

SECRET = "s3cret"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("see http://ops:s3cret@10.0.0.1:2379/v2", id="a user in a URL"),
        pytest.param("Authorization: Basic b3BzOnMzY3JldA==", id="a header"),
        pytest.param("header token=s3cret.of.dcos", id="a token of DC/OS"),
        pytest.param("bearer s3cret", id="a bearer"),
        pytest.param(
            "-----BEGIN RSA PRIVATE KEY-----\ns3cret\n-----END RSA PRIVATE KEY-----", id="a key"
        ),
        pytest.param("-----BEGIN PRIVATE KEY-----\ns3cret", id="half a key"),
        pytest.param('{"etcdPassword": "s3cret"}', id="a field of a text"),
        pytest.param('{"a": [{"api_key": ["s3cret"]}]}', id="a field deep in a text"),
        pytest.param('\n \t{"password": "s3cret"}', id="a field behind white space"),
        pytest.param('{"a": "{\\"password\\": \\"s3cret\\"}"}', id="a text in a text"),
        pytest.param('"{\\"password\\": \\"s3cret\\"}"', id="a text of a text"),
        pytest.param('[{"name": "DB_PASSWORD", "value": "s3cret"}]', id="a name beside its value"),
        pytest.param('[{"key": "api-key", "value": ["s3cret"]}]', id="a key beside its values"),
        pytest.param('{"PASSPHRASE": {"a": "s3cret"}}', id="below a name"),
        pytest.param("password=s3cret", id="name=value"),
        pytest.param("DB_PASSWORD=an,s3cret host=h", id="name=value of a word"),
        pytest.param("password: s3cret", id="name: value"),
        pytest.param("a: b\n  etcd.pwd : 's3cret word'\n", id="a quoted one with a blank"),
        pytest.param('say "DB_PASS"="one \\" s3cret"', id="a quoted one with a quote"),
        pytest.param('{"password": "s3cret', id="half a JSON"),
        pytest.param('{"passwd": ["s3cret"', id="half a list"),
        pytest.param("Authorization: Digest username=x, response=s3cret", id="a digest"),
        pytest.param("X-Auth-Token: s3cret", id="another header"),
        pytest.param('{"/run/db-password": "s3cret"}', id="a path in JSON"),
        pytest.param("/run/secrets/db: password=s3cret", id="behind a path"),
        pytest.param("http://h/x/token=s3cret", id="the end of a path"),
        pytest.param("http://u:can/s3cret@h/", id="a slash in a URL's password"),
        pytest.param("http://u:p@s3cret@h:2379/", id="an @ in a URL's password"),
        pytest.param("http://s3cret@10.0.0.1/", id="a URL's user alone"),
        pytest.param('["http://a:2379","http://u:s3cret@b:2379"]', id="the second URL"),
        pytest.param("GET /v2?token=s3cret&wait=true", id="a parameter"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    masked = json.dumps(Redaction().value({"value": text}))
    assert SECRET not in masked
    assert "b3Bz" not in masked
    assert MASK in masked


@pytest.mark.parametrize("key", ["/calico/v1/config/EtcdPassword", "/calico/bgp/v1/x/token"])
def test_a_key_may_say_that_its_value_is_a_secret(key: str) -> None:
    assert Redaction().stored(key, SECRET) == MASK


def test_a_known_secret_is_masked_wherever_it_stands() -> None:
    redaction = Redaction([SECRET, "s3cret-and-more", "ab"])
    assert redaction.text("tab s3cret-and-more and s3cret") == f"tab {MASK} and {MASK}"
    assert redaction.value({"a-s3cret": 1}) == {f"a-{MASK}": 1}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"holder": "h", "token": 5, "since": "2026"}', id="the lease's number"),
        pytest.param('["http://10.0.0.1:2379", null, true]', id="a URL"),
        pytest.param("[[[", id="no JSON"),
        pytest.param("[" * 100_000, id="a bottomless nest"),
        pytest.param('{"app": "/basic/token", "groups": ["secret"]}', id="names of users"),
        pytest.param(
            '{"/calico/v1/host/h/workload/marathon/secret.6f1e0c55-0f3c-11e6/endpoint/eth0": '
            '{"ipv4_nets": ["10.65.0.3/32"]}, "token.6f1e0c55-0f3c-11e6-9": "up"}',
            id="ids of tasks",
        ),
        pytest.param('{"key": "/calico/v1/token", "value": "10.65.0.3"}', id="a path"),
        pytest.param('{"name": "token-host", "address": "10.0.0.1"}', id="a name without a value"),
        pytest.param("http://10.0.0.1:2379/v2/keys/a@b", id="an @ behind a port"),
        pytest.param("http://localhost/a@b?c=d@e see it", id="an @ in a path"),
        pytest.param("http://[fd00::1]:2379/a@b", id="an @ behind an IPv6 address"),
        pytest.param("http://a:2379,http://b:2379 by ops@example.com", id="an address of mail"),
        pytest.param(
            "etcd at http://10.0.0.1:2379 refuses these credentials: The request requires user "
            "authentication",
            id="a reason",
        ),
        pytest.param(
            "10.0.0.1 answers no token; name a file with USER:PASSWORD by --mesos-credentials",
            id="a remedy",
        ),
        pytest.param(
            "/marathon-calico/v1/task/web-secret.6f1e0c55-0f3c-11e6-9: is not JSON",
            id="why a key cannot be read",
        ),
        pytest.param("token.6f1e0c55-0f3c-11e6-9: waits for its host", id="why a task waits"),
        pytest.param("/run/secrets/etcd-password: Permission denied", id="why a file is not read"),
        pytest.param("app=/secret task=token.1 address=10.65.0.3 host=h", id="fields of a log"),
        pytest.param('marathon_calico_token_total{name="token"} 5', id="a metric"),
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redaction().stored("/calico/v1/x", text) == text


def test_what_is_around_a_secret_stays() -> None:
    told = "10.0.0.1 said: password=a1b2 for http://u:p@10.0.0.2:2379,http://u:p@10.0.0.3:2379/v2"
    shown = f"10.0.0.1 said: password={MASK} for http://{MASK}@10.0.0.2:2379,http://{MASK}@"
    assert Redaction().text(told) == f"{shown}10.0.0.3:2379/v2"


def test_a_task_or_host_may_be_called_anything() -> None:
    record = '{"app": "/secret", "address": "10.65.0.3"}'
    for key in ("task/secret.6f1e0c55-0f3c-11e6-9", "host/token-host", "held/secret"):
        assert Redaction().stored(f"/marathon-calico/v1/{key}", record) == record


def made(fill: Callable[[Bundle], None], limits: Limits = Limits()) -> dict[str, bytes]:  # noqa: B008 - a frozen value
    """The parts of a bundle."""
    file = BytesIO()
    bundle = Bundle(file, Redaction([SECRET]), SYSTEM_CLOCK, 0.0, limits)
    fill(bundle)
    bundle.close({"versions": {}})
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        members = tar.getmembers()
        assert all(each.mode == 0o600 for each in members)
        return {
            each.name.removeprefix(f"{FOLDER}/"): content.read()
            for each in members
            if (content := tar.extractfile(each)) is not None
        }


def notes(parts: dict[str, bytes]) -> dict[str, str]:
    return {each["part"]: each["reason"] for each in json.loads(parts["about.json"])["parts"]}


def test_a_part_that_fails_is_noted_and_the_others_are_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails() -> object:
        raise DatastoreUnavailable("no answer to ops:s3cret")

    def broken() -> object:
        return {}["absent"]

    def fill(bundle: Bundle) -> None:
        bundle.take("a.json", fails)
        bundle.take("b.json", broken)
        bundle.take("c.json", lambda: {"c": object()})
        bundle.take("d.json", lambda: {"d": SECRET})
        bundle.take("e", lambda: f"text {SECRET}")

    parts = made(fill)

    assert json.loads(parts["d.json"]) == {"d": MASK}
    assert parts["e"].decode() == f"text {MASK}"
    assert set(parts) == {"about.json", "d.json", "e"}
    told = notes(parts)
    assert told["a.json"] == f"no answer to ops:{MASK}"
    assert told["b.json"].startswith("KeyError")
    assert told["c.json"].startswith("it cannot be written")
    assert told["d.json"] == told["e"] == ""
    # and what is no failure but a defect leaves its traceback
    assert [(each.__dict__["part"], each.exc_info is None) for each in caplog.records] == [
        ("b.json", False)
    ]


def test_a_part_that_never_ends_holds_up_no_other() -> None:
    ended = threading.Event()

    def fill(bundle: Bundle) -> None:
        bundle.take("slow", lambda: ended.wait(30))
        bundle.take("quick", lambda: "x")

    parts = made(fill, Limits(part_seconds=0.05))
    ended.set()

    assert parts["quick"] == b"x"
    assert "did not end within" in notes(parts)["slow"]


def test_what_is_too_long_is_cut_off_and_says_so() -> None:
    def fill(bundle: Bundle) -> None:
        for name in "abc":
            bundle.take(name, lambda: "x" * 2000)

    parts = made(fill, Limits(part_bytes=1000, bytes=1500))

    assert [len(parts[name]) for name in "abc"] == [1000, 500, 0]
    assert set(notes(parts).values()) == {"cut off, it has 2000 bytes"}


def write(text: str) -> Callable[[BinaryIO], None]:
    def fill(file: BinaryIO) -> None:
        file.write(text.encode())

    return fill


def test_the_file_is_its_owners_alone_and_replaced_only_if_told(tmp_path: Path) -> None:
    path = tmp_path / "diags.tar.gz"
    write_file(path, write("one"), force=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_file(path, write("two"), force=False)
    assert path.read_text() == "one"
    write_file(path, write("three"), force=True)
    assert path.read_text() == "three"


def test_a_file_that_could_not_be_filled_leaves_nothing(tmp_path: Path) -> None:
    def fails(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_file(tmp_path / "diags.tar.gz", fails, force=False)
    assert list(tmp_path.iterdir()) == []
