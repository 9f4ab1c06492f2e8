"""The agent's HTTP side: Mesos' own endpoints and what Marathon's stand-in calls."""

from __future__ import annotations

import logging
import socket
import threading
import time
import urllib.parse
from collections.abc import Collection
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import ClassVar

import msgspec

from demo.kept_connection import KeptConnection
from demo.mesos.agent import Agent, LaunchRefused
from demo.mesos.containers.orders import REGISTER_PATH
from demo.mesos.records import GroupOrder, LaunchOrder, LaunchReply, TaskId
from demo.mesos.replies import render_containers, render_state, render_statistics
from demo.mesos.version import DEFAULT_VERSION, MesosVersion

log = logging.getLogger(__name__)

BODY_LIMIT = 1 << 20
LONGEST_WAIT = 60.0


class KillOrder(msgspec.Struct, frozen=True):
    """The body of `POST /stand-in/kill`."""

    task_id: TaskId


class _Id(msgspec.Struct, frozen=True):
    value: str


class Subscription(msgspec.Struct, frozen=True, tag_field="type", tag="SUBSCRIBE"):
    """What an executor says first, in the form of Mesos' executor API."""

    framework_id: _Id
    executor_id: _Id


class AgentServer(ThreadingHTTPServer):
    """Serves one agent; `masters` limits who may start and end tasks, empty is everyone."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        listen: tuple[str, int],
        agent: Agent,
        masters: Collection[str] = (),
        version: MesosVersion = DEFAULT_VERSION,
    ) -> None:
        self.agent = agent
        self.version = version
        self.masters = frozenset(masters)
        if ":" in listen[0]:
            self.address_family = socket.AF_INET6
        super().__init__(listen, _Handler)

    def begin(self) -> None:
        """Answer requests from now on."""
        threading.Thread(target=self.serve_forever, args=(0.05,), name="http", daemon=True).start()


class _Handler(KeptConnection):
    timeout: ClassVar[float] = 120.0
    server: AgentServer

    def do_GET(self) -> None:
        """Answer the endpoints that read."""
        path, _, query = self.path.partition("?")
        agent = self.server.agent
        version, present = self.server.version, agent.containers()
        match path.removeprefix("/slave(1)"):
            case "/containers" if version.has_containers:
                self._reply(render_containers(agent.site, present, time.time()))
            case "/monitor/statistics":
                self._reply(render_statistics(present, time.time()))
            case version.state_path:
                self._reply(render_state(agent.site, version, present))
            case "/health":
                self._reply({})
            case "/stand-in/tasks" if self._from_master() or self._from_here():
                values = dict(urllib.parse.parse_qsl(query))
                try:
                    after = int(values.get("after", -1))
                    timeout = min(float(values.get("timeout", 0)), LONGEST_WAIT)
                except ValueError as error:
                    self._reply({"message": str(error)}, HTTPStatus.BAD_REQUEST)
                    return
                self._reply(agent.tasks(after, timeout))
            case _:
                self._reply({"message": "no such endpoint"}, HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Answer the endpoints that start and end tasks."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_LIMIT:
            self.close_connection = True
            self._reply({"message": "too large"}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(length)
        if self.headers.get_content_type() != "application/json":
            self._reply({"message": "JSON only"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            return
        agent = self.server.agent
        try:
            match self.path:
                case path if path == REGISTER_PATH:
                    # From within a task's network, hence from any address.
                    self._register(msgspec.json.decode(body, type=Subscription))
                case _ if not self._from_master():
                    self._reply({"message": "not from here"}, HTTPStatus.FORBIDDEN)
                case "/stand-in/launch":
                    order = msgspec.json.decode(body, type=LaunchOrder)
                    self._reply(LaunchReply(agent.launch(order)))
                case "/stand-in/launch-group":
                    group = msgspec.json.decode(body, type=GroupOrder)
                    self._reply(LaunchReply(agent.launch_group(group)))
                case "/stand-in/kill":
                    agent.kill(msgspec.json.decode(body, type=KillOrder).task_id)
                    self._reply({})
                case _:
                    self._reply({"message": "no such endpoint"}, HTTPStatus.NOT_FOUND)
        except msgspec.DecodeError as error:
            self._reply({"message": str(error)}, HTTPStatus.BAD_REQUEST)
        except LaunchRefused as error:
            self._reply({"message": str(error)}, HTTPStatus.CONFLICT)
        except TimeoutError:
            self._reply({"message": "the launcher is slow"}, HTTPStatus.SERVICE_UNAVAILABLE)

    def _register(self, said: Subscription) -> None:
        known = self.server.agent.register(said.framework_id.value, said.executor_id.value)
        log.info(
            "executor subscribes",
            extra={
                "executor": said.executor_id.value,
                "from": self.client_address[0],
                "known": known,
            },
        )
        if known:
            self._reply({"type": "SUBSCRIBED"})
        else:
            self._reply({"message": "unknown executor"}, HTTPStatus.BAD_REQUEST)

    def _from_master(self) -> bool:
        return not self.server.masters or self.client_address[0] in self.server.masters

    def _from_here(self) -> bool:
        own: str = self.connection.getsockname()[0]
        return self.client_address[0] == own

    def _reply(self, value: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = msgspec.json.encode(value)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news; what they lead to is logged where it happens."""
