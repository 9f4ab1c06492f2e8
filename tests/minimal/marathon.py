"""Marathon 1.4 as two resources and a stream, fed by hand."""

import json
import queue
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler

from tests.minimal.http import LoopbackServer, send_json

VERSION = "2016-08-05T12:00:01.250Z"
HEARTBEAT = 5.0


class MinimalMarathon(LoopbackServer):
    """Apps as dictionaries; every change may be told on the stream or kept silent."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self._lock = threading.Lock()
        self._apps: dict[str, dict[str, object]] = {}
        self._clients: list[queue.SimpleQueue[bytes]] = []

    def put(
        self,
        app_id: str,
        tasks: Sequence[tuple[str, str]],
        groups: Sequence[str],
        ports: Sequence[int] = (9000,),
    ) -> None:
        """An app in the `ipAddress` form with (task id, host) running."""
        discovery = [
            {"number": port, "name": f"p{port}", "protocol": "tcp", "labels": {}} for port in ports
        ]
        app = {
            "id": app_id,
            "version": VERSION,
            "instances": len(tasks),
            "labels": {},
            "ipAddress": {"groups": list(groups), "labels": {}, "discovery": {"ports": discovery}},
            "tasks": [
                {
                    "id": task,
                    "appId": app_id,
                    "host": host,
                    "slaveId": "S1",
                    "state": "TASK_RUNNING",
                    "ports": [],
                    "startedAt": VERSION,
                    "stagedAt": VERSION,
                    "version": VERSION,
                }
                for task, host in tasks
            ],
        }
        with self._lock:
            self._apps[app_id] = app

    def remove(self, app_id: str) -> None:
        """Forget an app, saying nothing."""
        with self._lock:
            del self._apps[app_id]

    def tell(self, app_id: str, task: str, host: str, status: str) -> None:
        """One status update to every stream."""
        body = {
            "slaveId": "S1",
            "taskId": task,
            "taskStatus": status,
            "message": "",
            "appId": app_id,
            "host": host,
            "ports": [],
            "version": VERSION,
            "eventType": "status_update_event",
            "timestamp": VERSION,
        }
        text = f"event: status_update_event\r\ndata: {json.dumps(body)}\r\n\r\n"
        with self._lock:
            for client in self._clients:
                client.put(text.encode())

    @property
    def streams(self) -> int:
        """How many clients listen."""
        with self._lock:
            return len(self._clients)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        leader = (("X-Marathon-Leader", self.url),)
        with self._lock:
            apps = dict(self._apps)
        if path == "/v2/events":
            self._stream(handler)
        elif path == "/v2/info":
            send_json(handler, {"version": "1.4.13", "frameworkId": "F", "leader": self.authority})
        elif path == "/v2/leader":
            send_json(handler, {"leader": self.authority}, headers=leader)
        elif path == "/v2/apps":
            send_json(handler, {"apps": list(apps.values())}, headers=leader)
        elif (app_id := path.removeprefix("/v2/apps").replace("//", "/")) in apps:
            send_json(handler, {"app": apps[app_id]}, headers=leader)
        else:
            missing = {"message": f"App '{app_id}' does not exist"}
            send_json(handler, missing, 404, headers=leader)

    def _stream(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Accept") != "text/event-stream":
            handler.send_error(405)
            return
        mine: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream;charset=utf-8")
        handler.send_header("Connection", "close")
        handler.end_headers()
        with self._lock:
            self._clients.append(mine)
        try:
            while True:
                try:
                    handler.wfile.write(mine.get(timeout=HEARTBEAT))
                except queue.Empty:
                    handler.wfile.write(b"\r\n")
        except OSError:
            return
        finally:
            with self._lock:
                self._clients.remove(mine)


class MinimalMesosAgent(LoopbackServer):
    """The `/containers` of one host, fed by hand."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.pids: dict[str, int] = {}
        #: Tasks of the Docker containerizer, by the id of their container.
        self.tasks: dict[str, str] = {}

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        rows: list[dict[str, object]] = [
            {
                "container_id": f"c-{task}",
                "executor_id": task,
                "framework_id": "F",
                "source": task,
                "status": {"executor_pid": pid},
            }
            for task, pid in dict(self.pids).items()
        ]
        rows += [
            {"container_id": container, "executor_id": task, "framework_id": "F", "source": task}
            for container, task in dict(self.tasks).items()
        ]
        send_json(handler, rows)
