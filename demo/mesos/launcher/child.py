"""What a forked process does until it executes its task's program.

It may wait in a namespace of its own until that is attached, and is the task's
executor then: it reaches the Mesos agent from inside before the task may run.
Only the standard library is imported.
"""

from __future__ import annotations

import ctypes
import fcntl
import http.client
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MNT_DETACH = 2
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
PACKET_LIMIT = 1 << 20
#: Between two attempts to reach the agent, and the longest that one may take.
REGISTER_PAUSE = 0.05
REGISTER_SECONDS = 5.0
SHARED = ("mnt", "uts", "net")

Order = Mapping[str, Any]


class Refused(Exception):
    """The agent does not want this executor; it has to end."""


def become(order: Order, channel: socket.socket, libc: ctypes.CDLL) -> NoReturn:
    """Turn the forked process into a task, or into the executor that holds a group's namespace.

    The channel tells how far it is: `held`, `ready`, or `error` with the reason;
    it closes when the program is executed.
    """
    try:
        try:
            _detach_from_launcher()
            _enter(order, libc)
            if order["hold"]:
                _tell(channel, {"held": True})
                packet = channel.recv(PACKET_LIMIT)
                if not packet:
                    # The launcher has ended, so nobody will let this one go.
                    os._exit(1)
                order = {**order, **json.loads(packet)}
            _furnish(order, libc)
            if order.get("register"):
                _register(order["register"], channel)
            os.chdir(order["directory"])
            _redirect_all()
            _tell(channel, {"ready": True})
            if not order["argv"]:
                channel.close()
                while True:
                    signal.pause()
            os.execvpe(order["argv"][0], order["argv"], order["env"])
        except OSError as error:
            subject = error.filename or (order["argv"] or ["executor"])[0]
            _tell(channel, {"error": f"{subject}: {error.strerror or error}"})
        except Refused as error:
            _tell(channel, {"error": str(error)})
    finally:
        os._exit(127)


def check(order: Order, channel: socket.socket, libc: ctypes.CDLL) -> NoReturn:
    """Look whether a task is well, from inside its namespaces; the exit status says it."""
    try:
        try:
            _detach_from_launcher()
            # Whatever it does, and also once it is another program: its time is up then.
            signal.setitimer(signal.ITIMER_REAL, order["timeout"])
            _join(order["pid"], libc)
            match order["kind"]:
                case "command":
                    os.chdir(order["directory"])
                    _redirect_all()
                    os.execvpe(order["argv"][0], order["argv"], order["env"])
                case "tcp":
                    socket.create_connection(("127.0.0.1", order["port"])).close()
                case _:
                    _fetch(order["port"], order["path"])
            os._exit(0)
        except (OSError, http.client.HTTPException, Refused) as error:
            _tell(channel, {"error": str(error)})
    finally:
        os._exit(1)


def _detach_from_launcher() -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _enter(order: Order, libc: ctypes.CDLL) -> None:
    if order["join"]:
        _join(order["join"], libc)
    elif order["isolate"]:
        # An attached container has a name of its own too, and its own /etc/hosts.
        more = CLONE_NEWUTS if order["hold"] else 0
        more |= CLONE_NEWNS if _has_mounts(order) else 0
        _check(libc.unshare(CLONE_NEWNET | more), "new network namespace")
        _set_loopback_up()


def _join(pid: int, libc: ctypes.CDLL) -> None:
    """Enter the namespaces that a container's processes share."""
    # Opened before the first step: in another mount namespace /proc may be another.
    opened = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in SHARED]
    for descriptor, kind in zip(opened, SHARED, strict=True):
        if os.fstat(descriptor).st_ino != os.stat(f"/proc/self/ns/{kind}").st_ino:
            _check(libc.setns(descriptor, 0), f"namespace of {pid}")
        os.close(descriptor)


def _has_mounts(order: Order) -> bool:
    return bool(order["isolate"] and (order["hold"] or order["files"]))


def _furnish(order: Order, libc: ctypes.CDLL) -> None:
    """Give a container its own host name and network files, and let go of the agent's mounts."""
    if order.get("hostname"):
        socket.sethostname(order["hostname"])
    if not _has_mounts(order):
        return
    _check(libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "/")
    for target, source in order["files"].items():
        path = os.path.realpath(target)
        if os.path.isfile(path):
            _check(libc.mount(source.encode(), path.encode(), None, MS_BIND, None), target)
    for path in order["hidden"]:
        # Copies of the other containers' handles would keep their namespaces for ever.
        _check(libc.umount2(path.encode(), MNT_DETACH), path)


def _register(step: Order, channel: socket.socket) -> None:
    """Subscribe with the agent over the container's own network, as executors do."""
    executor = {"executor_id": {"value": step["executor"]}}
    framework = {"framework_id": {"value": step["framework"]}}
    body = json.dumps({"type": "SUBSCRIBE", **framework, **executor, "subscribe": {}})
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    host, _, port = step["endpoint"].rpartition(":")
    gone = select.poll()
    gone.register(channel, select.POLLIN)
    while True:
        connection = http.client.HTTPConnection(
            host.strip("[]"), int(port), timeout=REGISTER_SECONDS
        )
        try:
            connection.request("POST", step["path"], body.encode(), headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            # Not yet: whoever waits for this executor knows how long.
            time.sleep(REGISTER_PAUSE)
        else:
            if status == 200:
                return
            raise Refused(f"the agent answered the executor with {status}")
        finally:
            connection.close()
        if gone.poll(0):
            os._exit(1)


def _fetch(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    status = connection.getresponse().status
    if not 200 <= status < 400:
        raise Refused(f"unexpected HTTP response code {status}")


def _set_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        reply = fcntl.ioctl(control, SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("h", reply, 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _redirect_all() -> None:
    _redirect(0, os.devnull, os.O_RDONLY)
    _redirect(1, "stdout", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _redirect(2, "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _redirect(descriptor: int, path: str, flags: int) -> None:
    opened = os.open(path, flags, 0o644)
    os.dup2(opened, descriptor)
    os.close(opened)


def _tell(channel: socket.socket, message: Order) -> None:
    try:
        channel.send(json.dumps(message).encode())
    except OSError:
        # The launcher has ended: nobody is told, and nobody waits.
        os._exit(1)


def _check(result: int, subject: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), subject)
