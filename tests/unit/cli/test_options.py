"""Where the address of etcd is taken from, and what is refused at once."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from reconciler.cli.main import ENVIRONMENT_PREFIX
from reconciler.cli.options import EtcdSettings, etcd_options

OWN = ("MARATHON_CALICO_ETCD", "MARATHON_CALICO_PROBE_ETCD")
URL = "http://127.0.0.1:2379"


@click.group()
def group() -> None:
    """Stands where the real group stands."""


@group.command()
@etcd_options
def probe(etcd: EtcdSettings) -> None:
    """Shows what it was given."""
    click.echo(etcd.urls)
    click.echo(f"{etcd}|{etcd.ca}|{etcd.cert}|{etcd.key}")


def run(*arguments: str, **environment: str) -> Result:
    # What the person who runs the tests has set must not decide.
    unset = dict.fromkeys((*OWN, "ETCD_ENDPOINTS", "ETCD_AUTHORITY", "ETCD_CA_CERT_FILE"))
    return CliRunner().invoke(
        group,
        ["probe", *arguments],
        env={**unset, **environment},
        auto_envvar_prefix=ENVIRONMENT_PREFIX,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "urls"),
    [
        pytest.param((), {}, (URL,), id="default"),
        pytest.param((), {"ETCD_AUTHORITY": "db:4001"}, ("http://db:4001",), id="authority"),
        pytest.param(
            (),
            {"ETCD_ENDPOINTS": "http://a:1,https://b:2", "ETCD_AUTHORITY": "db:4001"},
            ("http://a:1", "https://b:2"),
            id="Calico's list before Calico's authority",
        ),
        pytest.param(
            (),
            {"MARATHON_CALICO_ETCD": "http://x:1 http://y:2", "ETCD_ENDPOINTS": "http://a:1"},
            ("http://x:1", "http://y:2"),
            id="our name before Calico's",
        ),
        pytest.param(
            (),
            {"MARATHON_CALICO_PROBE_ETCD": "http://z:1", "MARATHON_CALICO_ETCD": "http://x:1"},
            ("http://z:1",),
            id="the command's own name before all",
        ),
        pytest.param(
            ("--etcd", "http://f:1", "--etcd", "http://[::1]"),
            {"MARATHON_CALICO_ETCD": "http://x:1"},
            ("http://f:1", "http://[::1]:2379"),
            id="flags before variables",
        ),
    ],
)
def test_the_nearest_word_on_etcd_wins(
    arguments: tuple[str, ...], environment: dict[str, str], urls: tuple[str, ...]
) -> None:
    result = run(*arguments, **environment)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0] == str(urls)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x:1",
        "http://",
        "http://x:port",
        "http://x:1/v2",
        "http://x:99999",
        "http://a b:1",
        "http://x:0",
        "x",
        "x:y",
        "",
    ],
)
def test_what_is_no_url_of_a_server_is_a_usage_error(url: str) -> None:
    result = run("--etcd", url)
    assert result.exit_code == 2
    assert "--etcd" in result.output
    assert "Traceback" not in result.output


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    result = run(MARATHON_CALICO_ETCD="http://user:secret@x:1")
    assert result.output.splitlines()[1].startswith("http://x:1|")
    assert "secret" not in run("--etcd", "http://user:secret@x:port").output


def test_certificate_and_key_belong_together(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    file.write_text("")
    assert run("--etcd-cert", str(file)).exit_code == 2
    assert run("--etcd-cert", str(file), "--etcd-key", str(file)).exit_code == 0
    assert run("--etcd-ca", str(tmp_path / "absent")).exit_code == 2
    assert run(ETCD_CA_CERT_FILE=str(file)).output.splitlines()[1] == f"{URL}|{file}||"
