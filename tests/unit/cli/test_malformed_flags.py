"""What is malformed is refused at once, in one line with flag, value and remedy."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from reconciler.cli.main import ENVIRONMENT_PREFIX, main

#: With these in place only the flag under test can be wrong.
REQUIRED = {
    "cni install": ("--plugins-dir", "{}/plugins", "--config-dir", "{}/networks"),
    "describe": ("task", "web"),
    "diags": ("--output", "{}/diags.tar.gz"),
    "get": ("tasks",),
    "holds approve": ("0123456789ab",),
    "hosts forget": ("host-1",),
    "ipam release": ("192.168.0.1",),
    "why": ("web", "db"),
}
#: What everybody may read holds no password.
OF_CREDENTIALS = [
    ("/no/file", "/no/file", "write USER:PASSWORD into it"),
    ("/etc/passwd", "/etc/passwd", "chmod 600"),
    ("/etc", "/etc", "write USER:PASSWORD into it"),
]
#: Flag -> what it is given, what of that is told, and a word of the remedy.
OF_ETCD = {
    "--etcd": [
        ("foo", "foo", "such as http://127.0.0.1:2379"),
        ("ftp://x:1", "ftp://x:1", "such as http://127.0.0.1:2379"),
        ("http://x:port", "http://x:port", "such as http://127.0.0.1:2379"),
        ("http://a b:1", "http://a b:1", "such as http://127.0.0.1:2379"),
        ("http://10.0.0.999:1", "http://10.0.0.999:1", "such as http://127.0.0.1:2379"),
        ("http://user:secret@x:port", "x:port", "such as http://127.0.0.1:2379"),
        ("http://user:secret@x:1", "http://x:1", "by --etcd-credentials"),
        ("user:secret@x:1", "http://x:1", "by --etcd-credentials"),
    ],
    "--etcd-credentials": OF_CREDENTIALS,
    "--etcd-ca": [("/no/file", "/no/file", "does not exist")],
    "--etcd-cert": [("/no/file", "/no/file", "does not exist")],
    "--etcd-key": [("/no/file", "/no/file", "does not exist")],
}
OF_LOGS = {
    "--log-level": [("loud", "loud", "'debug', 'info'")],
    "--log-format": [("xml", "xml", "'text', 'json'")],
}
OF_READERS = {**OF_ETCD, "--output": [("xml", "xml", "'table', 'json', 'yaml'")]}
OF_NETWORKS = [("a/b", "a/b", "1 to 63 of"), ("", "", "1 to 63 of")]
TOO_LONG = f"/run/{'x' * 107}"
OF_SOCKETS = [("", "", "1 to 107 bytes"), (TOO_LONG, TOO_LONG, "1 to 107 bytes")]
MALFORMED = {
    "agent": {
        **OF_ETCD,
        **OF_LOGS,
        "--host": [("a/b", "a/b", "characters"), ("_x", "_x", "must not begin with")],
        "--address": [("x", "x", "as 10.0.0.5"), ("010.0.0.1", "010.0.0.1", "as 10.0.0.5")],
        "--routing": [("x", "x", "'direct', 'none'")],
        "--mark-bit": [("0x3", "0x3", "such as 0x10000"), ("x", "x", "such as 0x10000")],
        "--locator": [("magic", "magic", "'mesos', 'docker'")],
        "--mesos-agent": [
            ("foo", "foo", "such as http://127.0.0.1:5051"),
            ("http://x:port", "http://x:port", "such as http://127.0.0.1:5051"),
            ("http://user:secret@x", "http://x:5051", "by --mesos-credentials"),
        ],
        "--mesos-credentials": OF_CREDENTIALS,
        "--host-ports": [("x", "x", "from 1 to 65535"), ("9-8", "9-8", "as 8-9")],
        "--protect": [
            ("x/y", "x/y", "such as 10.0.0.5/32:2379"),
            ("10.0.0.1:99999", "99999", "from 1 to 65535"),
            ("[fd00::5", "[fd00::5", "such as [fd00::5]:2379"),
        ],
        "--docker-socket": [("", "", "1 to 107 bytes")],
        "--state-dir": [("/etc/passwd", "/etc/passwd", "is a file")],
        "--socket": OF_SOCKETS,
        "--network": OF_NETWORKS,
        "--listen": [
            ("x", "x", "such as :9402"),
            ("a/b:1", "a/b:1", "such as :9402"),
            ("::1:80", "::1:80", "as [::1]:9402"),
        ],
    },
    "controller": {
        **OF_ETCD,
        **OF_LOGS,
        "--marathon": [
            ("foo", "foo", "write http://HOST:PORT"),
            ("http://a,b:1", "http://a,b:1", "write http://HOST:PORT"),
            ("http://user:secret@x:port", "x:port", "write http://HOST:PORT"),
            ("http://user:secret@x:1", "http://x:1", "by --marathon-credentials"),
        ],
        "--marathon-credentials": [
            *OF_CREDENTIALS,
            ('{"private_key": "secret"}', "the key", "name a file"),
        ],
        "--marathon-ca": [("/no/file", "/no/file", "does not exist")],
        "--marathon-cert": [("/no/file", "/no/file", "does not exist")],
        "--marathon-key": [("/no/file", "/no/file", "does not exist")],
        "--pool": [
            ("x", "x", "such as 192.168.0.0/16"),
            ("10/8", "10/8", "such as 192.168.0.0/16"),
            ("10.0.0.1/8", "10.0.0.1/8", "write 10.0.0.0/8"),
            ("10.0.0.0/27", "10.0.0.0/27", "name a larger one"),
        ],
        "--port-policy": [("x", "x", "'declared', 'open'")],
        "--allow-from": [("x", "x", "as 10.0.0.0/8"), ("10.0.0.0/33", "10.0.0.0/33", "as 10.")],
        "--network": OF_NETWORKS,
        "--resync": [
            ("x", "x", "such as 60"),
            ("0", "0", "such as 60"),
            ("nan", "nan", "such as 60"),
            ("inf", "inf", "such as 60"),
        ],
        "--scale-agents": [("agent", "agent", "such as /marathon-calico/agent")],
        "--mesos-master": [
            ("x:5050", "x:5050", "such as http://10.0.0.1:5050"),
            ("http://user:secret@x:port", "x:port", "such as http://10.0.0.1:5050"),
            ("http://user:secret@x:1", "http://x:1", "by --mesos-credentials"),
        ],
        "--mesos-credentials": OF_CREDENTIALS,
        "--listen": [("x", "x", "such as :9401")],
    },
    "dns": {
        **OF_ETCD,
        **OF_LOGS,
        "--listen-dns": [("foo", "foo", "such as :53"), ("a:53", "a:53", "as 127.0.0.1:53")],
        "--domain": [("..", "..", "such as mesos")],
        "--framework": [(".", ".", "such as marathon")],
        "--resolver": [("x", "x", "such as 10.0.0.2"), ("10.0.0.2:0", "10.0.0.2:0", "is 53")],
        "--forward": [("x", "x", "such as 10.0.0.2")],
        "--allow": [("x", "x", "as 10.0.0.0/8")],
        "--listen": [("x", "x", "such as :9403")],
    },
    "cni install": {
        "--plugins-dir": [("/etc/passwd", "/etc/passwd", "is a file")],
        "--config-dir": [("/etc/passwd", "/etc/passwd", "is a file")],
        "--network": OF_NETWORKS,
        "--socket": OF_SOCKETS,
        "--interpreter": [("/etc", "/etc", "is a directory")],
        "--runtime": [("x", "x", "'mesos', 'podman'")],
    },
    "netmodules install": {
        "--file": [("/etc", "/etc", "is a directory")],
        "--interpreter": [("/etc", "/etc", "is a directory")],
        "--socket": OF_SOCKETS,
    },
    "diags": {
        **OF_ETCD,
        "--output": [
            ("/etc/passwd", "/etc/passwd", "give --force"),
            ("/etc", "/etc", "is a directory"),
            ("/no/folder/x", "/no/folder/x", "No such file"),
        ],
    },
    "ipam show": {**OF_READERS, "--address": [("x", "x", "as 10.0.0.5")]},
    **dict.fromkeys(
        (
            *("cluster adopt", "cluster show", "describe", "diff", "get"),
            *("holds approve", "holds list", "holds show", "hosts forget", "hosts list"),
            *("ipam check", "ipam release", "status", "why"),
        ),
        OF_READERS,
    ),
}
ROWS = [
    pytest.param(command, flag, *row, id=f"{command} {flag} {row[0][:30]}")
    for command, flags in MALFORMED.items()
    for flag, rows in flags.items()
    for row in rows
]


def _run(command: str, *more: str) -> Result:
    return CliRunner().invoke(
        main, [*command.split(), *more], auto_envvar_prefix=ENVIRONMENT_PREFIX
    )


@pytest.mark.parametrize(("command", "flag", "given", "told", "remedy"), ROWS)
def test_a_malformed_value_is_refused_with_its_flag_and_a_remedy(
    tmp_path: Path, command: str, flag: str, given: str, told: str, remedy: str
) -> None:
    required = [each.format(tmp_path) for each in REQUIRED.get(command, ())]

    refused = _run(command, *required, flag, given)

    said = [line for line in refused.stderr.splitlines() if line.startswith("Error: ")]
    assert (refused.exit_code, refused.stdout, len(said)) == (2, "", 1), refused.output
    assert refused.stderr.endswith(f"{said[0]}\n")
    assert flag in said[0]
    assert told in said[0]
    assert remedy in said[0]
    assert "secret" not in refused.output


def _commands(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, *above, name)
        else:
            yield " ".join((*above, name)), command


def test_every_flag_that_takes_a_text_is_tried() -> None:
    taking = {
        name: {
            flag
            for option in command.params
            if isinstance(option, click.Option) and not option.is_flag
            for flag in option.opts
            if flag.startswith("--")
        }
        for name, command in _commands(main)
    }

    assert {name: set(flags) for name, flags in MALFORMED.items()} == taking
