"""net-modules' calls, for tests of the translator."""

import json
from typing import Any

from reconciler.attach.api import Attacher
from reconciler.attach.calls.netmodules import answer_netmodules

HOST = "slave-H3A-1"
UID = "0cd47986-24ad-4c00-b9d3-5db9e5c02028"
CONTAINER = "ba11f1de-fc4d-46fd-9f15-424f4ef05a3a"
#: A process that is there, so that its namespace can be told from another's.
PID = 1


def rpc(attacher: Attacher, command: object, **args: Any) -> tuple[int, Any]:
    """The exit code and what is printed, decoded; `None` takes an argument out."""
    given = {"hostname": HOST, **args}
    text = json.dumps(
        {
            "command": command,
            "args": {name: value for name, value in given.items() if value is not None},
        }
    )
    return printed(attacher, text)


def printed(attacher: Attacher, text: str) -> tuple[int, Any]:
    """The same for any text on standard input."""
    code, answer, *_ = answer_netmodules({"input": text}, attacher, -1)
    return code, json.loads(answer)


def allocate(attacher: Attacher, **args: Any) -> tuple[int, Any]:
    """The call before a container starts."""
    return rpc(attacher, "allocate", **{"num_ipv4": 1, "num_ipv6": 0, "uid": UID, **args})


def isolate(attacher: Attacher, *addresses: str, **args: Any) -> tuple[int, Any]:
    """The call when a container's first process is there."""
    lists = {
        "ipv4_addrs": [each for each in addresses if "." in each],
        "ipv6_addrs": [each for each in addresses if ":" in each],
    }
    named = {"container_id": CONTAINER, "pid": PID, "netgroups": [], "labels": []}
    return rpc(attacher, "isolate", **{**lists, **named, **args})


def label(key: str, value: object) -> list[dict[str, object]]:
    """A list of one label."""
    return [{"key": key, "value": value}]
