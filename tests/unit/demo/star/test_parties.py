"""Which task a resource stands for, and who measured what."""

import pytest

from demo.star.collect.parties import Own, app_of, find_parties, find_tries
from demo.star.collect.polling import Answer
from demo.star.collect.resources import Resource
from demo.star.collect.told import Facts, Host, Task

OWN = Own("/star/collect", "host-1")


def task(app: str, address: str = "", verdict: str = "IN_SYNC", number: int = 1) -> Task:
    name = app.strip("/").replace("/", "_")
    return Task(f"{name}.{number}", app, "host-1", address, ("g",), verdict, "")


def facts(*tasks: Task) -> Facts:
    return Facts(tasks, {}, (Host("host-9", ("10.0.0.9",), "reporting", 0),))


@pytest.mark.parametrize(
    ("url", "app"),
    [
        pytest.param("http://probe-a.star-iso.marathon.mesos:9000/status", "/star-iso/probe-a"),
        pytest.param("http://x.marathon.mesos/", "/x"),
        pytest.param("http://192.168.0.1:9000/status", ""),
    ],
)
def test_a_dotted_name_tells_the_app(url: str, app: str) -> None:
    assert app_of(Resource("A", url)) == app


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://probe-a.star.marathon.mesos:9000/", id="with dots"),
        pytest.param("http://probe-a-star.marathon.mesos:9000/", id="with a dash"),
        pytest.param("http://192.168.0.1:9000/", id="its address"),
    ],
)
def test_a_task_is_found_by_every_form_of_its_name(url: str) -> None:
    told = facts(task("/star/probe-a", "192.168.0.1"), task("/star/probe-b", "192.168.0.2"))
    _, party = find_parties([Resource("A", url)], {}, told, OWN, {})
    assert (party.app, party.name) == ("/star/probe-a", "probe-a")
    assert [each.app for each in party.tasks] == ["/star/probe-a"]


def test_the_task_that_is_in_sync_stands_in_front() -> None:
    app = "/star/probe-a"
    told = facts(task(app, verdict="PENDING"), task(app, number=2))
    resource = Resource("A", "http://probe-a.star.marathon.mesos/")
    _, party = find_parties([resource], {}, told, OWN, {})
    assert [each.task for each in party.tasks] == ["star_probe-a.2", "star_probe-a.1"]


def test_a_host_mode_task_stands_on_the_host_that_answered() -> None:
    resource = Resource("A", "http://probe-a-star-before.marathon.mesos:9000/")
    answers = {"A": Answer(1.0, 1.1, 200, {}, "10.0.0.9", reached=True)}
    _, party = find_parties([resource], answers, facts(), OWN, {})
    assert (party.host, party.tasks, party.answers) == ("host-9", (), True)


def test_the_collector_has_a_name_of_its_own() -> None:
    resource = Resource("collect", "http://x/")
    own, _ = find_parties([resource], {}, None, OWN, {})
    assert own.id == "collector"


def targets(*entries: object) -> object:
    return {"status": {"targets": list(entries)}}


def test_tries_of_the_collector_and_of_the_probes_are_told_apart() -> None:
    resources = [Resource("A", "http://a:9000/status"), Resource("B", "http://b:9000/status")]
    status = targets({"url": "http://b:9000/status", "reachable": False, "age": 0.25})
    answers = {"A": Answer(10.0, 10.1, 200, status, "1.2.3.4", reached=True)}
    parties = find_parties(resources, answers, None, OWN, {})
    tries = {(each.sender, each.receiver): each for each in find_tries(parties, resources, answers)}
    assert set(tries) == {("collect", "A"), ("collect", "B"), ("A", "B")}
    own, other = tries["collect", "A"].measured, tries["A", "B"].measured
    assert own is not None
    assert other is not None
    assert own.reached
    assert (other.reached, other.began, other.heard) == (False, 9.75, 10.1)
    assert tries["collect", "B"].measured is None


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="nothing"),
        pytest.param([], id="a list"),
        pytest.param({"status": []}, id="no object"),
        pytest.param({"status": {"targets": {}}}, id="no list"),
        pytest.param(targets(1, {}, {"url": 1, "reachable": True}), id="no targets"),
        pytest.param(targets({"url": "http://b:9000/status"}), id="not whether"),
        pytest.param(targets({"url": "//", "reachable": True}), id="no url"),
        pytest.param(targets({"url": "http://else/", "reachable": True}), id="nobody's url"),
        pytest.param(
            targets({"url": "http://b:9000/status", "reachable": False, "age": None}),
            id="not tried yet",
        ),
    ],
)
def test_what_is_not_understood_of_a_probe_is_passed_over(document: object) -> None:
    resources = [Resource("A", "http://a:9000/status"), Resource("B", "http://b:9000/status")]
    answers = {"A": Answer(10.0, 10.1, 200, document, "1.2.3.4", reached=True)}
    parties = find_parties(resources, answers, None, OWN, {})
    senders = {each.sender for each in find_tries(parties, resources, answers)}
    assert senders == {"collect"}
