"""Whose a Docker container is, and what is read of an engine's answers."""

from pathlib import Path

import msgspec
import pytest

from calico.model import ContainerId, TaskId
from reconciler.agent.locators.docker import Claim, claim_of
from reconciler.agent.locators.docker_api import (
    DockerContainer,
    choose_version,
    parse_container,
    parse_ids,
)

FIXTURES = Path(__file__).parent / "fixtures"
AGENT = "96d7da70-b731-4cfb-96a7-0ee877af615d-S0"
UUID = "5baff64c-d028-47ba-864e-a5ee679fc069"


def recorded(name: str) -> bytes:
    return (FIXTURES / f"docker-{name}.json").read_bytes()


def test_a_recorded_container_is_read() -> None:
    assert parse_container(recorded("container")) == DockerContainer(
        name=f"mesos-{AGENT}.{UUID}", network="none", pid=8376, labelled="web.1", told="web.1"
    )


def test_a_recorded_list_is_read() -> None:
    assert [each[:4] for each in parse_ids(recorded("containers"))] == ["ac42", "6d24", "6d7f"]


def test_a_recorded_engine_is_spoken_to_in_an_old_version() -> None:
    assert choose_version(recorded("version")) == "v1.24"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("1", id="one number"),
        pytest.param("1.41/../x", id="a path"),
        pytest.param("\u0661.\u0662", id="other digits"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_version_of_another_form_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no version"):
        choose_version(msgspec.json.encode({"ApiVersion": text}))


@pytest.mark.parametrize(
    ("state", "pid"),
    [
        pytest.param({"Running": True, "Pid": 77}, 77, id="running"),
        pytest.param({"Running": True, "Paused": True, "Pid": 77}, 77, id="paused"),
        pytest.param({"Running": False, "Pid": 77}, 0, id="ended"),
        pytest.param({"Running": True, "Pid": 1}, 0, id="the first process of the machine"),
        pytest.param({"Running": True, "Pid": -5}, 0, id="no process"),
        pytest.param({}, 0, id="unknown"),
    ],
)
def test_only_what_runs_has_a_process(state: dict[str, object], pid: int) -> None:
    body = {"Name": "/t", "State": state, "Config": {}, "HostConfig": {"NetworkMode": "none"}}

    assert parse_container(msgspec.json.encode(body)) == DockerContainer("t", "none", pid)


def test_an_id_that_is_no_id_becomes_no_path() -> None:
    rows = [{"Id": "../images"}, {"Id": "A" * 64}, {"Id": "a" * 64}]

    assert parse_ids(msgspec.json.encode(rows)) == ("a" * 64,)


@pytest.mark.parametrize(
    ("name", "container"),
    [
        pytest.param(f"mesos-{UUID}", UUID, id="up to 0.22, and from 1.4 on"),
        pytest.param(f"mesos-{AGENT}.{UUID}", UUID, id="0.23 to 1.3"),
        pytest.param(f"mesos-{AGENT}.{UUID}.executor", None, id="the executor of 0.23 to 1.3"),
        pytest.param(f"mesos-{UUID}.executor", None, id="the executor's own"),
        pytest.param(f"{UUID}", None, id="no prefix"),
        pytest.param(f"mesos-{UUID}-2", None, id="a longer name"),
        pytest.param(f"mesos-{AGENT}.nothing", None, id="no UUID"),
        pytest.param(f"mesos-a.b.{UUID}", None, id="too many parts"),
        pytest.param("postgres", None, id="somebody else's"),
    ],
)
def test_a_name_holds_the_id_that_mesos_gave(name: str, container: str | None) -> None:
    expected = None if container is None else ContainerId(container)

    assert claim_of(DockerContainer(name, "none", 5)).container == expected


@pytest.mark.parametrize(
    ("name", "label", "variable", "named"),
    [
        pytest.param("t", "web.1", "web.1", {"web.1"}, id="agreed"),
        pytest.param("t", "web.1", "", {"web.1"}, id="label"),
        pytest.param("t", "", "web.1", {"web.1"}, id="environment"),
        pytest.param("t", "web.1", "db.1", {"web.1", "db.1"}, id="disputed"),
        pytest.param("t", "", "", set[str](), id="nothing"),
        pytest.param(f"mesos-{UUID}.executor", "web.1", "web.1", set[str](), id="an executor"),
    ],
)
def test_a_container_names_a_task(name: str, label: str, variable: str, named: set[str]) -> None:
    claim = claim_of(DockerContainer(name, "none", 5, label, variable))

    assert claim == Claim(claim.container, frozenset(map(TaskId, named)))
