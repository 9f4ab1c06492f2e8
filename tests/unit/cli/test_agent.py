"""The agent's flags, as far as they are refused before it starts."""

import pytest
from click.testing import CliRunner

from reconciler.cli.commands.agent import agent


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        pytest.param(["--locator", "none", "--locator", "mesos"], "stands alone", id="both"),
        pytest.param(["--locator", "magic"], "'magic' is not one of", id="unknown"),
    ],
)
def test_a_choice_of_locators_that_makes_no_sense_is_refused(flags: list[str], says: str) -> None:
    done = CliRunner().invoke(agent, ["--etcd", "http://127.0.0.1:9", "--host", "h", *flags])

    assert done.exit_code == 2
    assert says in done.output


def test_the_socket_is_among_the_flags_with_its_default() -> None:
    told = CliRunner().invoke(agent, ["--help"], terminal_width=200).output

    assert "--socket PATH" in told
    assert "[default: /run/marathon-calico/agent.sock]" in told
