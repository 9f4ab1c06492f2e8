"""What the pages tell operators to write is what the product reads."""

import configparser
import re
import shlex

import click
import pytest

from marathon_client.decode import parse_app
from marathon_client.models import NetworkMode
from reconciler.agent.preflight import CAPABILITIES
from reconciler.cli.commands.agent import agent
from tests.pages import PAGES, blocks

DOCKER, SYSTEMD = "docs/docker.md", "docs/systemd.md"
PREFIX = "MARATHON_CALICO_AGENT_"


def parsed(words: list[str]) -> click.Context:
    """An agent's flags; raises what a wrong one raises."""
    return agent.make_context("agent", words)


def test_the_docker_app_is_one_that_gets_an_address() -> None:
    (text,) = blocks(DOCKER, "json")

    app = parse_app(text.encode())

    (network,) = app.networks
    assert network.mode is NetworkMode.CONTAINER
    assert network.name is None
    assert network.groups == ("shop",)
    assert [port.number for port in network.ports] == [80]


@pytest.mark.parametrize("text", blocks(DOCKER, "sh"))
def test_the_agent_takes_the_flags_on_the_docker_page(text: str) -> None:
    words = shlex.split(text.replace("\\\n", " "))
    words = words[words.index("agent") + 1 :] if "agent" in words else pytest.fail("no agent")

    assert parsed(words).params["locator"] == ("mesos", "docker")


@pytest.mark.parametrize("flag", re.findall(r"^\| `(--[a-z-]+)", PAGES[DOCKER], re.MULTILINE))
def test_the_flags_on_the_docker_page_exist(flag: str) -> None:
    assert flag in {option for each in agent.params for option in each.opts}


def unit() -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None)
    # Keys of units are told apart by case.
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(blocks(SYSTEMD, "ini")[0])
    return read


def test_the_unit_gives_the_agent_what_it_needs_and_no_more() -> None:
    service = unit()["Service"]

    assert set(service["CapabilityBoundingSet"].split()) == set(CAPABILITIES)
    assert f"/var/lib/{service['StateDirectory']}" == str(parsed([]).params["state_dir"])
    assert service["ExecStart"].endswith("/marathon-calico agent")


def test_the_unit_reads_a_file_whose_variables_are_flags() -> None:
    given = [text for text in blocks(SYSTEMD, "sh") if text.startswith("MARATHON")]
    assert unit()["Service"]["EnvironmentFile"] in PAGES[SYSTEMD].partition("```sh")[0]
    names = {line.partition("=")[0] for line in given[0].splitlines()}
    flags = {option.removeprefix("--") for each in agent.params for option in each.opts}

    assert "MARATHON_CALICO_ETCD" in names
    for name in names - {"MARATHON_CALICO_ETCD"}:
        assert name.removeprefix(PREFIX).lower().replace("_", "-") in flags
