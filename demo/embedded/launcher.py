"""Starts the embedded cluster from outside of its namespaces, and ends it.

The sockets that a person opens are bound here, before the namespaces exist, and
inherited: they listen on this machine's loopback, all else is out of reach.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, assert_never

import msgspec

from demo.embedded import control, namespaces
from demo.embedded.directory import (
    LOG_NAME,
    ClusterRecord,
    NotRunningError,
    forget,
    read_record,
    write_record,
)
from demo.embedded.hosts import plan_hosts
from demo.embedded.locked import LaunchError, remove, take
from demo.embedded.namespaces import NamespacesRefusedError, Refusal
from demo.embedded.processes import PROJECT, Shape
from demo.embedded.product.names import parse_name
from demo.embedded.supervisor import ClusterPlan, Failed, Ready, Refused, Report
from demo.mesos.processes import start_time
from demo.stories.rest import MarathonApi, MarathonRefusedError

END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """What to start; port 0 means any free one.

    Unless it is `supervised`, Marathon runs controller and agents, and `arguments`
    of `controller` and `agent` go to their apps.
    """

    hosts: int = 2
    without: Sequence[str] = ()
    arguments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    marathon_port: int = 0
    page_port: int = 0
    supervised: bool = False
    shape: Shape = field(default_factory=Shape)


@dataclass(frozen=True, slots=True)
class Foreground:
    """A cluster that ends with the process that holds this."""

    directory: Path
    record: ClusterRecord
    keeper: int
    lifeline: int

    def wait(self) -> None:
        """Return when the cluster has ended by itself."""
        os.waitid(os.P_PID, self.keeper, os.WEXITED | os.WNOWAIT)

    def end(self) -> None:
        """End every process of the cluster and wait until all are gone."""
        os.close(self.lifeline)
        handle = os.pidfd_open(self.keeper)
        try:
            if not select.select([handle], [], [], END_SECONDS)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
        os.waitpid(self.keeper, 0)
        forget(self.directory)


def launch_foreground(directory: Path, options: Options) -> Foreground:
    """Start a cluster that ends when the caller calls `end`, or dies."""
    lifeline_read, lifeline_write = os.pipe2(os.O_CLOEXEC)
    try:
        record, keeper = _launch(directory, options, (lifeline_read, lifeline_write))
    except BaseException:
        os.close(lifeline_write)
        raise
    finally:
        os.close(lifeline_read)
    running = Foreground(directory=directory, record=record, keeper=keeper, lifeline=lifeline_write)
    try:
        _deploy(record, options)
    except BaseException:
        running.end()
        raise
    return running


def launch_background(directory: Path, options: Options) -> ClusterRecord:
    """Start a cluster that runs until `end_background`."""
    record, keeper = _launch(directory, options, None)
    os.waitpid(keeper, 0)
    try:
        _deploy(record, options)
    except BaseException:
        end_background(directory)
        raise
    return record


def end_background(directory: Path) -> None:
    """End the cluster in `directory` and wait until all of it is gone."""
    record = read_record(directory)
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        remove(directory)
        return
    try:
        # Looked at again behind the handle: from here on it cannot be another process.
        if start_time(record.pid) != record.started:
            raise NotRunningError(f"the cluster in {directory} has ended")
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], END_SECONDS)[0]:
                break
    finally:
        os.close(handle)
    remove(directory)


def _deploy(record: ClusterRecord, options: Options) -> None:
    """Have Marathon run the product, unless the supervisor does."""
    if options.supervised:
        return
    # What only this needs takes a while to import, and Marathon a while to start.
    from demo.embedded.product.apps import deploy  # noqa: PLC0415 - see above

    try:
        with MarathonApi(record.marathon_url) as marathon:
            deploy(marathon, plan_hosts(options.hosts), options.arguments)
    except (MarathonRefusedError, ValueError) as error:
        raise LaunchError(f"the product's apps could not be deployed: {error}") from error


def _refuse_unsupervised(options: Options) -> None:
    """Only a supervised cluster can do without what deploys and runs the product."""
    for name in options.without:
        if name == "marathon" or parse_name(name) is not None:
            raise LaunchError(
                f"--without {name} needs --supervised: else Marathon runs the product"
            )
    for name in options.arguments:
        task = parse_name(name)
        if task is not None and task.host is not None:
            raise LaunchError(
                f"{name} alone can be given arguments with --supervised only; "
                f"{task.app_id.rpartition('/')[2]}=... gives them to all that Marathon runs"
            )


def _launch(
    directory: Path, options: Options, lifeline: tuple[int, int] | None
) -> tuple[ClusterRecord, int]:
    if hidden := [path for path in (PROJECT, sys.prefix) if Path(path).is_relative_to("/run")]:
        raise LaunchError(f"{hidden[0]} is below /run, which each host has of its own")
    if not options.supervised:
        _refuse_unsupervised(options)
    lock = take(directory)
    try:
        with (
            _listen(options.marathon_port) as marathon,
            _listen(options.page_port) as page,
            control.listen(directory) as listener,
        ):
            report_read, report_write = os.pipe2(os.O_CLOEXEC)
            pid_read, pid_write = os.pipe2(os.O_CLOEXEC)
            plan = ClusterPlan(
                hosts=options.hosts,
                without=tuple(options.without),
                arguments={
                    name: tuple(more)
                    for name, more in options.arguments.items()
                    if options.supervised or parse_name(name) is None
                },
                supervised=options.supervised,
                shape=options.shape,
                marathon=marathon.fileno(),
                page=page.fileno(),
                control=listener.fileno(),
                report=report_write,
                lock=lock,
                lifeline=lifeline[0] if lifeline else None,
            )
            log = directory / LOG_NAME
            launcher = os.getpid()

            def child() -> NoReturn:
                # The read end may be ours for ever; the other end must be the launcher's only.
                for descriptor in (report_read, pid_read, *(lifeline[1:] if lifeline else ())):
                    os.close(descriptor)
                _keep(plan, pid_write, log, launcher)

            keeper = namespaces.fork(child)
            os.close(report_write)
            os.close(pid_write)
            ports = marathon.getsockname()[1], page.getsockname()[1]
    finally:
        # The cluster keeps the lock through its own copy, for as long as it lives.
        os.close(lock)
    with os.fdopen(pid_read, "rb") as reader:
        first = reader.read().decode()
    with os.fdopen(report_read, "rb") as reader:
        packet = reader.read()
    try:
        _judge(packet, log)
        record = ClusterRecord(int(first), start_time(int(first)) or 0, *ports, options.supervised)
    except (LaunchError, NamespacesRefusedError):
        os.waitpid(keeper, 0)
        forget(directory)
        raise
    write_record(directory, record)
    return record, keeper


def _keep(plan: ClusterPlan, pid_write: int, log: Path, launcher: int) -> NoReturn:
    """Enter the namespaces, start their first process and, in the foreground, await its end."""
    os.setsid()
    foreground = plan.lifeline is not None
    if foreground:
        namespaces.end_with_parent()
        if os.getppid() != launcher:
            os._exit(1)
    _redirect(log)
    try:
        namespaces.isolate()
    except NamespacesRefusedError as error:
        refused: Report = Refused(error.refusal.step, error.refusal.code)
        os.write(plan.report, msgspec.json.encode(refused))
        os._exit(2)
    first = namespaces.fork(lambda: _execute(plan))
    os.write(pid_write, str(first).encode())
    for descriptor in (plan.report, plan.control, *plan.opened, plan.lock, pid_write):
        os.close(descriptor)
    if foreground:
        os.waitpid(first, 0)
    os._exit(0)


def _execute(plan: ClusterPlan) -> NoReturn:
    kept = (*plan.opened, plan.control, plan.report, plan.lock, plan.lifeline)
    _close_all_but({descriptor for descriptor in kept if descriptor is not None})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(PROJECT)
    os.execv(
        sys.executable,
        (sys.executable, "-m", "demo.embedded.supervisor", msgspec.json.encode(plan).decode()),
    )


def _close_all_but(kept: Set[int]) -> None:
    """Whoever waits for a pipe of the launcher's to close must not wait for the cluster."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor in kept:
            os.set_inheritable(descriptor, True)
        elif descriptor > 2:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _redirect(log: Path) -> None:
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (opened, 1), (opened, 2)):
        os.dup2(source, target)


def _judge(packet: bytes, log: Path) -> None:
    if not packet:
        raise LaunchError(f"the cluster ended at once:\n{log.read_text()[-2000:]}", log)
    report: Report = msgspec.json.decode(packet, type=Report)
    match report:
        case Refused(step, code):
            raise NamespacesRefusedError(Refusal(step, code))
        case Failed(reason):
            raise LaunchError(reason, log)
        case Ready():
            return
        case _:
            assert_never(report)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise LaunchError(
            f"port {port} of this machine is taken ({error.strerror}); choose "
            "another with --port or --page-port, or 0 for any"
        ) from error
    listener.listen(128)
    try:
        socket.create_connection(listener.getsockname(), timeout=1.0).close()
    except OSError as error:
        listener.close()
        raise LaunchError(
            f"this machine does not reach itself on 127.0.0.1 ({error}); ip link set lo up"
        ) from error
    return listener
