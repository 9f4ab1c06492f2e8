"""How an app's definition is read, and the group that the story deploys."""

from demo.stories.forms import read_group
from demo.stories.matrix import Task, is_open
from demo.stories.scene import policy


def test_only_tcp_ports_are_tried() -> None:
    app = {
        "ipAddress": {
            "groups": ["x"],
            "discovery": {
                "ports": [
                    {"number": 53, "protocol": "udp"},
                    {"number": 80, "protocol": "tcp"},
                    {"number": 81},
                ]
            },
        }
    }

    assert policy(app) == (("x",), (80, 81))


def test_the_deployed_group_isolates_two_pairs_beside_a_collector() -> None:
    tasks = [Task(app["id"], "host", *policy(app)) for app in read_group("star-iso")["apps"]]

    closed = {
        (source.name, target.name)
        for source in tasks
        for target in tasks
        if source != target and not is_open(source, target, target.ports[0])
    }

    one, two = ("probe-a", "probe-b"), ("probe-c", "probe-d")
    assert closed == {(x, y) for x in one for y in two} | {(y, x) for x in one for y in two}
