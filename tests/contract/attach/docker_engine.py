"""An engine's answers as a real one gave them, over a real socket."""

import copy
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.contract.attach.unix_http import begin_chunks, send_chunk
from tests.minimal.http import send_json

FIXTURES = Path(__file__).parents[2] / "unit" / "agent" / "fixtures"
#: Longer than anybody waits for one container.
STUCK_FOR = 3.0
EVENT = b'{"status":"start","id":"6d2417d60421","Type":"container","Action":"start"}\n'


def recorded(name: str) -> Any:
    """What an engine answered once."""
    return json.loads((FIXTURES / f"docker-{name}.json").read_text())


def container(
    name: str,
    pid: int,
    network: str = "none",
    label: str | None = None,
    variable: str | None = None,
) -> Any:
    """The recorded container, changed in what counts here."""
    made = copy.deepcopy(recorded("container"))
    made["Name"] = f"/{name}"
    made["State"] |= {"Pid": pid, "Running": pid != 0}
    made["HostConfig"]["NetworkMode"] = network
    made["Config"]["Labels"] = {} if label is None else {"MESOS_TASK_ID": label}
    made["Config"]["Env"] = ["PATH=/bin", "NOT_MESOS_TASK_ID=x"]
    if variable is not None:
        made["Config"]["Env"].append(f"MESOS_TASK_ID={variable}")
    return made


@dataclass
class RecordedEngine:
    """Containers by id, and what was asked for them."""

    containers: dict[str, Any] = field(default_factory=dict)
    version: Any = field(default_factory=lambda: recorded("version"))
    asked: list[str] = field(default_factory=list)
    happen: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    over: threading.Event = field(default_factory=threading.Event)
    #: Containers that `inspect` tells nothing of, until it is over.
    stuck: set[str] = field(default_factory=set)
    #: Seconds that it takes to inspect one.
    takes: float = 0.0

    def add(self, *containers: Any, stuck: bool = False) -> None:
        """Run some more containers."""
        for each in containers:
            name = f"{len(self.containers) + 1:064x}"
            self.containers[name] = each
            if stuck:
                self.stuck.add(name)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer as Docker does."""
        self.asked.append(handler.path)
        path, _, rest = handler.path.removeprefix("/").partition("/")
        if path == "version":
            send_json(handler, self.version)
        elif rest == "containers/json":
            rows = recorded("containers")
            send_json(
                handler,
                [
                    rows[0] | {"Id": each}
                    for each, at in self.containers.items()
                    if at["State"]["Running"]
                ],
            )
        elif rest.startswith("events?"):
            self._tell_events(handler)
        elif (each := rest.removeprefix("containers/").removesuffix("/json")) in self.containers:
            self.over.wait(self.takes)
            if each in self.stuck:
                self.over.wait(STUCK_FOR)
            send_json(handler, self.containers[each])
        else:
            send_json(handler, {"message": f"No such container: {rest}"}, 404)

    def _tell_events(self, handler: BaseHTTPRequestHandler) -> None:
        begin_chunks(handler)
        while not self.over.is_set():
            if self.happen.acquire(timeout=0.01):
                send_chunk(handler, EVENT)
        send_chunk(handler, b"")
