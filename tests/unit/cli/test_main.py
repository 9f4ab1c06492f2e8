"""The group of commands: what it imports, and how it fails."""

import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from calico.dataplane.netlink.inspection import KernelInspector
from reconciler.agent.observation.lookout import KernelPages
from reconciler.cli.main import COMMANDS, main

READING = (
    *("status", "get", "describe", "diff", "why"),
    *("hosts list", "hosts forget", "ipam show", "ipam check", "ipam release"),
    *("holds list", "holds show", "holds approve", "cluster show", "cluster adopt"),
)


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, so that only what the program imports is imported."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )


def test_help_imports_no_command_and_no_table_library() -> None:
    program = (
        "import sys\n"
        "from reconciler.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'rich', 'yaml', 'etcd', 'pyroute2', 'requests', 'netaddr', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = run_python(program)
    assert done.stderr.strip() == "[]"
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_the_shared_options_import_no_table_library() -> None:
    program = (
        "import sys\n"
        "import reconciler.cli.main, reconciler.cli.options\n"
        "print(sorted({'rich', 'yaml', 'etcd'} & set(sys.modules)))\n"
    )
    assert run_python(program).stdout.strip() == "[]"


@pytest.mark.parametrize("command", READING)
def test_every_reading_command_says_what_it_does(command: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Fields of -o json" in result.output
    assert "--etcd URL" in result.output


def test_the_agent_says_which_pages_it_serves() -> None:
    served = KernelPages(lambda _: None, KernelInspector()).readers()
    pages = {"healthz", "readyz", "metrics"} | {page.split("/")[1] for page in served}

    result = CliRunner().invoke(main, ["agent", "--help"])

    assert pages - set(re.findall(r"/([a-z]+)", result.output)) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["nonsense"], id="no such command"),
        pytest.param(["get", "nonsense"], id="no such kind"),
        pytest.param(["status", "-o", "xml"], id="no such form"),
        pytest.param(["why", "one"], id="an argument is missing"),
        pytest.param(["status", "--etcd", "ftp://x"], id="no URL"),
        pytest.param([], id="no command"),
    ],
)
def test_wrong_usage_is_exit_2_without_a_traceback(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("marathon-calico ")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_flag_is_a_variable_of_its_own_name(name: str) -> None:
    with click.Context(main) as context:
        command = main.get_command(context, name)
    assert command is not None
    for option in command.params:
        if isinstance(option, click.Option):
            flag = next(each for each in option.opts if each.startswith("--"))
            assert option.name == flag.removeprefix("--").replace("-", "_")


def test_a_bad_variable_is_refused_like_a_bad_flag() -> None:
    variables = {"MARATHON_CALICO_CONTROLLER_POOL": "foo"}
    result = CliRunner().invoke(main, ["controller"], env=variables)
    assert result.exit_code == 2
    assert "'foo' is no network" in result.output
