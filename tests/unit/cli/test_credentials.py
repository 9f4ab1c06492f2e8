"""Who we are to a server is told by files of our own, and shown to nobody."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from reconciler.cli.credentials import parse_user, read_user, with_user
from reconciler.cli.main import ENVIRONMENT_PREFIX, main

SECRET = "s3cret:with a colon"


def rsa_key() -> str:
    """A new key, as DC/OS writes it."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return made.private_bytes(
        serialization.Encoding.PEM, form, serialization.NoEncryption()
    ).decode()


def file_of(directory: Path, text: str | bytes, mode: int = 0o600) -> str:
    path = directory / "credentials"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_holds_one_user_and_one_password(tmp_path: Path, end: str) -> None:
    assert read_user(file_of(tmp_path, f"ops:{SECRET}{end}")) == ("ops", SECRET)


@pytest.mark.parametrize(
    ("text", "mode", "remedy"),
    [
        pytest.param(f"ops:{SECRET}", 0o640, "chmod 600", id="read by a group"),
        pytest.param(f"ops:{SECRET}", 0o604, "chmod 600", id="read by everybody"),
        pytest.param("s3cret", 0o600, "one line, USER:PASSWORD", id="no user"),
        pytest.param(":s3cret", 0o600, "one line, USER:PASSWORD", id="an empty user"),
        pytest.param("ops:s3cret\nmore", 0o600, "one line, USER:PASSWORD", id="two lines"),
        pytest.param("", 0o600, "one line, USER:PASSWORD", id="empty"),
        pytest.param(b"ops:s3cret\xff", 0o600, "no text", id="no UTF-8"),
        pytest.param("ops:" + "s3cret" * 20_000, 0o600, "too long", id="endless"),
    ],
)
def test_what_is_no_secret_pair_is_refused_without_quoting_it(
    tmp_path: Path, text: str | bytes, mode: int, remedy: str
) -> None:
    path = file_of(tmp_path, text, mode)

    with pytest.raises(ValueError, match=remedy) as refused:
        read_user(path)

    assert path in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away runs only as the machine's root")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, "ops:s3cret")
    os.chown(path, 65534, 65534)
    with pytest.raises(ValueError, match="another user"):
        read_user(path)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        pytest.param("http://x:1", "http://o%40s:p%3A%2F%40@x:1", id="quoted"),
        pytest.param("http://u:v@x:1", "http://u:v@x:1", id="the URL's own win"),
        pytest.param("https://[fd00::1]:1", "https://o%40s:p%3A%2F%40@[fd00::1]:1", id="IPv6"),
    ],
)
def test_credentials_go_into_a_url(url: str, told: str) -> None:
    assert with_user(url, parse_user("o@s:p:/@")) == told
    assert with_user(url, None) == url


@pytest.mark.parametrize(
    "variable", ["MARATHON_CALICO_ETCD", "MARATHON_CALICO_STATUS_ETCD", "ETCD_ENDPOINTS"]
)
def test_a_url_of_the_environment_may_hold_a_password(variable: str) -> None:
    result = _run("status", environment={variable: "http://ops:s3cret@127.0.0.1:9"})
    assert result.exit_code == 3, result.output
    assert "127.0.0.1:9" in result.stderr
    assert "s3cret" not in result.output


ACCOUNT = {"uid": "mc", "private_key": "s3cret", "login_endpoint": "http://127.0.0.1:9/login"}
USED = {**ACCOUNT, "private_key": rsa_key()}


@pytest.mark.parametrize(
    "said", [pytest.param(ACCOUNT, id="no key"), pytest.param({"uid": "s3cret"}, id="no account")]
)
def test_a_service_account_that_cannot_sign_is_refused_at_the_flag(
    tmp_path: Path, said: dict[str, str]
) -> None:
    path = file_of(tmp_path, json.dumps(said))
    for arguments, environment in (
        (("--marathon-credentials", path), {}),
        ((), {"DCOS_SERVICE_ACCOUNT_CREDENTIAL": json.dumps(said)}),
    ):
        refused = _run("controller", *arguments, environment=environment)
        assert refused.exit_code == 2
        assert "--marathon-credentials" in refused.stderr
        assert "s3cret" not in refused.output


def test_the_key_is_taken_from_a_file_or_from_where_dcos_puts_it(tmp_path: Path) -> None:
    path = file_of(tmp_path, json.dumps(USED))
    # A certificate without its key, so that nothing starts: all flags have been read by then.
    for arguments, environment in (
        (("--marathon-credentials", path), {}),
        ((), {"DCOS_SERVICE_ACCOUNT_CREDENTIAL": json.dumps(USED)}),
        ((), {"MARATHON_CALICO_CONTROLLER_MARATHON_CREDENTIALS": path}),
    ):
        read = _run("controller", *arguments, "--marathon-cert", path, environment=environment)
        assert "belong together" in read.stderr, read.output


def _run(command: str, *arguments: str, environment: dict[str, str]) -> Result:
    unset = dict.fromkeys(("MARATHON_CALICO_ETCD", "ETCD_ENDPOINTS", "ETCD_AUTHORITY"))
    return CliRunner().invoke(
        main,
        [command, *arguments],
        env={**unset, **environment},
        auto_envvar_prefix=ENVIRONMENT_PREFIX,
    )
