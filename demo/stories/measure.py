"""`python -m demo.stories.measure`: tries connections from inside of namespaces.

`reach` reads probes from its input and answers with outcomes, `look` tells which
tasks there are, `attaching` which of our agents would attach a container, and
`observe` watches a host's Mesos agent and reports how long each task took to become
reachable.
Only the standard library: it starts within milliseconds.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import selectors
import socket
import struct
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demo.embedded import namespaces

SIOCGIFADDR = 0x8915
PATIENCE = 0.5
#: An observer asks again before TCP itself would: that waits for a second.
IMPATIENCE = 0.03
LOOK_SECONDS = 0.02
STEP_SECONDS = 0.003
GIVE_UP_SECONDS = 60.0
REFUSALS = (errno.ECONNREFUSED, errno.ECONNRESET)

Row = Mapping[str, Any]


def reach(rows: Sequence[Row]) -> list[str]:
    """The outcome of each probe {pid, address, port}, all tried at the same time."""
    outcomes = ["gone"] * len(rows)
    numbers_by_pid: dict[int, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        numbers_by_pid[row["pid"]].append(number)

    def measure(pid: int, numbers: Sequence[int]) -> None:
        try:
            with namespaces.network_of(pid):
                targets = [(rows[number]["address"], rows[number]["port"]) for number in numbers]
                found = connect_all(targets, PATIENCE)
        except OSError:
            # The process has ended: so has its namespace.
            return
        for number, outcome in zip(numbers, found, strict=True):
            outcomes[number] = outcome

    threads = [
        threading.Thread(target=measure, args=(pid, numbers), name=f"from {pid}")
        for pid, numbers in numbers_by_pid.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def connect_all(targets: Sequence[tuple[str, int]], patience: float) -> list[str]:
    """Try to connect to each target from the caller's network namespace."""
    outcomes = ["silent"] * len(targets)
    deadline = time.monotonic() + patience
    with selectors.DefaultSelector() as selector:
        for number, target in enumerate(targets):
            channel = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            channel.setblocking(False)
            code = channel.connect_ex(target)
            if code in (0, errno.EINPROGRESS):
                selector.register(channel, selectors.EVENT_WRITE, (number, channel))
            else:
                outcomes[number] = _outcome(code)
                channel.close()
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                number, channel = key.data
                code = channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                outcomes[number] = _outcome(code)
                selector.unregister(channel)
                channel.close()
        for key in list(selector.get_map().values()):
            key.data[1].close()
    return outcomes


def look(agents: Sequence[Sequence[Any]]) -> dict[str, Row]:
    """Every task that the Mesos agents at HOST, PORT know: its process and its address."""
    found: dict[str, Row] = {}
    for host, port in agents:
        channel = http.client.HTTPConnection(host, port, timeout=5.0)
        try:
            pids = _pids(channel)
        except (OSError, http.client.HTTPException, ValueError):
            # It may be down: its tasks are not seen until it is back.
            continue
        finally:
            channel.close()
        found |= {task: {"pid": pid, "address": _address_of(pid)} for task, pid in pids.items()}
    return found


def _pids(channel: http.client.HTTPConnection) -> dict[str, int]:
    """The process of each task that a Mesos agent has."""
    channel.request("GET", "/containers")
    response = channel.getresponse()
    rows = json.load(response)
    if response.status == http.HTTPStatus.OK:
        pids = {row["source"]: row["status"].get("executor_pid") for row in rows}
    else:
        # A Mesos before 1.0 tells nobody; what stands in for it does.
        channel.request("GET", "/stand-in/tasks")
        pids = {row["task_id"]: row["pid"] for row in json.load(channel.getresponse())["tasks"]}
    return {task: pid for task, pid in pids.items() if pid}


def attaching(agents: Sequence[Sequence[Any]]) -> list[bool]:
    """Whether each of our agents at HOST, PORT would give a container a network now."""
    return [_attaches(host, port) for host, port in agents]


def _attaches(host: str, port: int) -> bool:
    channel = http.client.HTTPConnection(host, port, timeout=5.0)
    try:
        channel.request("GET", "/readyz")
        page: Row = json.load(channel.getresponse())
        return page.get("why_not_attached") == ""
    except (OSError, http.client.HTTPException, ValueError):
        # It is not there yet.
        return False
    finally:
        channel.close()


def observe(agent: tuple[str, int], ports: Mapping[str, int]) -> None:
    """Print a line for each new task once this host reaches it, for ever.

    `ports` gives the port to try by the beginning of the task's id.
    """
    seen: set[str] = set()
    channel = http.client.HTTPConnection(*agent, timeout=5.0)
    while True:
        try:
            pids = _pids(channel)
        except (OSError, http.client.HTTPException, ValueError):
            # The agent restarts; tasks live on, and it will list them again.
            channel.close()
            pids = {}
        for task, pid in pids.items():
            port = next((ports[start] for start in ports if task.startswith(start + ".")), None)
            if task not in seen and port:
                seen.add(task)
                threading.Thread(target=_follow, args=(task, pid, port), daemon=True).start()
        time.sleep(LOOK_SECONDS)


def _follow(task: str, pid: int, port: int) -> None:
    started = _started(pid)
    deadline = started + GIVE_UP_SECONDS
    address = None
    try:
        with namespaces.network_of(pid):
            while address is None and _now() < deadline:
                address = _address()
                time.sleep(STEP_SECONDS)
    except OSError:
        return
    if address is None:
        return
    addressed = _now()
    while _now() < deadline:
        if connect_all([(address, port)], IMPATIENCE) == ["connected"]:
            report = {
                "task": task,
                "addressed": round(addressed - started, 3),
                "reachable": round(_now() - started, 3),
            }
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()
            return
        time.sleep(STEP_SECONDS)


def _outcome(code: int) -> str:
    if code == 0:
        return "connected"
    if code in REFUSALS:
        return "refused"
    return "silent" if code == errno.ETIMEDOUT else "unreachable"


def _address_of(pid: int) -> str | None:
    try:
        with namespaces.network_of(pid):
            return _address()
    except OSError:
        return None


def _address() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            reply = fcntl.ioctl(control, SIOCGIFADDR, struct.pack("256s", b"eth0"))
        except OSError:
            return None
    return socket.inet_ntoa(reply[20:24])


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _started(pid: int) -> float:
    # The kernel counts the start in hundredths of a second since boot.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / 100


def main(arguments: Sequence[str]) -> None:
    """Run one of them; input and output are JSON."""
    given = json.load(sys.stdin)
    match list(arguments):
        case ["reach"]:
            json.dump(reach(given), sys.stdout)
        case ["look"]:
            json.dump(look(given), sys.stdout)
        case ["attaching"]:
            json.dump(attaching(given), sys.stdout)
        case ["observe", host, port]:
            observe((host, int(port)), given)
        case _:
            sys.exit("reach, look, attaching or observe HOST PORT")


if __name__ == "__main__":
    main(sys.argv[1:])
