"""`cni install` and `netmodules install`: what they write, and what they leave alone."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from reconciler.attach import plugin
from reconciler.cli.commands.cni import cni, netmodules


def _run(command: click.Command, *args: object) -> Result:
    return CliRunner().invoke(command, ["install", *map(str, args)])


def _install(directory: Path, *args: object) -> Result:
    dirs = ("--plugins-dir", directory / "plugins", "--config-dir", directory / "networks")
    return _run(cni, *dirs, *args)


def _files(directory: Path) -> list[str]:
    return sorted(
        str(each.relative_to(directory)) for each in directory.rglob("*") if each.is_file()
    )


def test_a_plugin_and_a_network_are_written(tmp_path: Path) -> None:
    done = _install(tmp_path, "--network", "net1")

    assert done.exit_code == 0, done.output
    assert _files(tmp_path) == ["networks/net1.conf", "plugins/marathon-calico-cni"]
    assert json.loads((tmp_path / "networks/net1.conf").read_text()) == {
        "cniVersion": "0.2.0",
        "name": "net1",
        "type": "marathon-calico-cni",
    }
    modes = [stat.S_IMODE((tmp_path / each).stat().st_mode) for each in _files(tmp_path)]
    assert modes == [0o644, 0o755]


def test_podman_gets_a_list_of_one_plugin(tmp_path: Path) -> None:
    done = _install(tmp_path, "--runtime", "podman")

    assert json.loads((tmp_path / "networks/calico.conflist").read_text()) == {
        "cniVersion": "0.4.0",
        "name": "calico",
        "plugins": [{"type": "marathon-calico-cni"}],
    }
    assert f'cni_plugin_dirs = ["{tmp_path}/plugins"]' in done.output
    assert _install(tmp_path, "--runtime", "podman").output.count("unchanged") == 2


def test_the_flags_of_the_mesos_agent_are_told(tmp_path: Path) -> None:
    told = _install(tmp_path).output

    assert f"--network_cni_plugins_dir={tmp_path}/plugins\n" in told
    assert f"--network_cni_config_dir={tmp_path}/networks\n" in told
    assert "network/cni" in told


def test_a_plugin_for_another_machine_names_the_python_there(tmp_path: Path) -> None:
    done = _install(tmp_path, "--interpreter", "/opt/elsewhere/python3")

    assert done.exit_code == 0, done.output
    first = (tmp_path / "plugins/marathon-calico-cni").read_text().partition("\n")[0]
    assert first == "#!/opt/elsewhere/python3 -IS"


def test_the_plugin_runs_alone_in_any_environment(tmp_path: Path) -> None:
    _install(tmp_path, "--socket", "/run/elsewhere.sock")

    done = subprocess.run(
        [tmp_path / "plugins/marathon-calico-cni"],
        input=b'{"cniVersion": "0.2.0"}',
        env={"CNI_COMMAND": "ADD", "PYTHONHOME": "/nowhere", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 11
    assert b"/run/elsewhere.sock" in done.stderr


def test_the_plugin_is_the_one_that_is_tested(tmp_path: Path) -> None:
    _install(tmp_path)

    text = (tmp_path / "plugins/marathon-calico-cni").read_text()
    first, _, *rest = text.splitlines()
    assert first == f"#!{Path(sys.executable).resolve()} -IS"
    assert "\n".join(rest[:-3]) + "\n" == Path(plugin.__file__).read_text()


def test_again_changes_nothing(tmp_path: Path) -> None:
    _install(tmp_path)
    before = {each: (tmp_path / each).stat() for each in _files(tmp_path)}

    assert _install(tmp_path).output.count("unchanged") == 2
    assert {each: (tmp_path / each).stat() for each in _files(tmp_path)} == before


def test_our_own_older_files_are_replaced(tmp_path: Path) -> None:
    _install(tmp_path, "--socket", "/old.sock")
    (tmp_path / "plugins/marathon-calico-cni").chmod(0o644)
    old = '{"type": "marathon-calico-cni"}'
    (tmp_path / "networks/calico.conf").write_text(old)

    assert _install(tmp_path).output.count(": written") == 2
    assert "/old.sock" not in (tmp_path / "plugins/marathon-calico-cni").read_text()
    assert os.access(tmp_path / "plugins/marathon-calico-cni", os.X_OK)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("plugins/marathon-calico-cni", "#!/bin/sh\nexit 0\n", id="a plugin"),
        pytest.param("plugins/marathon-calico-cni", "", id="an empty plugin"),
        pytest.param("networks/calico.conf", '{"type": "calico"}', id="a network"),
        pytest.param("networks/calico.conf", '{"plugins": 5}', id="a list that is none"),
        pytest.param("networks/calico.conf", "[" * 100_000, id="a bottomless nest"),
        pytest.param("networks/calico.conf", "[]", id="a network that is none"),
        pytest.param("networks/calico.conf", "{", id="a torn network"),
    ],
)
def test_anothers_file_is_left_alone_and_nothing_is_written(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)

    done = _install(tmp_path)

    assert done.exit_code == 1
    assert str(tmp_path / name) in done.output
    assert _files(tmp_path) == [name]
    assert (tmp_path / name).read_text() == text


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("../calico", id="a path"),
        pytest.param("", id="empty"),
        pytest.param(".hidden", id="a dot first"),
        pytest.param("a" * 64, id="long"),
    ],
)
def test_a_network_whose_name_is_none_is_refused(tmp_path: Path, name: str) -> None:
    done = _install(tmp_path, "--network", name)

    assert (done.exit_code, "--network" in done.output) == (2, True)
    assert _files(tmp_path) == []


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    done = _install(tmp_path / "file")

    assert done.exit_code == 1
    assert "--plugins-dir" in done.output
    assert "Not a directory; name a place" in done.output


def test_net_modules_plugin_stands_in_for_calico_mesos(tmp_path: Path) -> None:
    path = tmp_path / "calico/calico_mesos"

    done = _run(netmodules, "--file", path, "--socket", "/none.sock")

    assert done.exit_code == 0, done.output
    assert done.output.count(f'"value": "{path}"') == 2
    assert "--hooks=com_mesosphere_mesos_NetworkHook" in done.output
    ran = subprocess.run(
        [path], input=b'{"command": "cleanup"}', capture_output=True, env={}, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, b'{"error": null}\n')


def test_calico_mesos_itself_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "calico_mesos"
    path.write_bytes(b"\x7fELF\xff")

    assert _run(netmodules, "--file", path).exit_code == 1
    assert path.read_bytes() == b"\x7fELF\xff"


@pytest.mark.parametrize(
    ("page", "command", "arguments"),
    [
        pytest.param(
            "cni.md",
            cni,
            ["--plugins-dir", "{}/opt/cni/bin", "--config-dir", "{}/etc/mesos/cni"],
            id="Mesos",
        ),
        pytest.param("net-modules.md", netmodules, ["--file", "{}/calico/calico_mesos"], id="old"),
    ],
)
def test_the_page_has_the_flags_that_are_printed(
    tmp_path: Path, page: str, command: click.Command, arguments: list[str]
) -> None:
    text = (Path(__file__).parents[3] / "docs" / page).read_text()

    told = _run(command, *(each.format(tmp_path) for each in arguments)).output

    flags = [line.strip() for line in told.splitlines() if line.startswith("  --")]
    assert len(flags) == 3
    assert [flag for flag in flags if flag.replace(str(tmp_path), "") not in text] == []
