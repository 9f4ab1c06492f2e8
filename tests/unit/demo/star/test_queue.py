"""Which apps wait, from Marathon's queue in the forms of its eras."""

import pytest

from demo.star.facts.queue import parse_queue

ROOM = "waits in /v2/queue for an offer with room for it"
PORT = "waits in /v2/queue for an offer with a free port 9000"


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        pytest.param({"requirePorts": True, "ports": [9000]}, PORT, id="ports that are required"),
        pytest.param(
            {"requirePorts": True, "portDefinitions": [{"port": 9000, "protocol": "tcp"}]},
            PORT,
            id="ports as 1.0 and later write them",
        ),
        pytest.param(
            {"requirePorts": True, "ports": [9000, 9001]},
            PORT + ", 9001",
            id="several ports",
        ),
        pytest.param({"requirePorts": False, "ports": [9000]}, ROOM, id="any port will do"),
        pytest.param({"requirePorts": True, "ports": [0]}, ROOM, id="any port, although required"),
        pytest.param({}, ROOM, id="no ports"),
    ],
)
def test_what_an_app_waits_for_is_told_by_its_definition(
    app: dict[str, object], reason: str
) -> None:
    row = {"app": {"id": "/star-before/probe-c", **app}, "count": 1}
    assert parse_queue({"queue": [row]}) == {"/star-before/probe-c": reason}


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="nothing"),
        pytest.param({"queue": None}, id="no list"),
        pytest.param({"queue": [1, {}, {"app": 1}, {"app": {"id": 1}}]}, id="no apps"),
        pytest.param({"queue": [{"pod": {"id": "/pod"}}]}, id="a pod"),
    ],
)
def test_what_is_not_understood_of_a_queue_is_passed_over(document: object) -> None:
    assert parse_queue(document) == {}
