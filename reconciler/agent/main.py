"""Puts one agent together, runs it and takes it down."""

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import assert_never

from calico.dataplane.api import Dataplane, Firewalls, Monitor
from calico.dataplane.foreign.firewalls import KernelFirewalls
from calico.dataplane.heap import share_heap
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.monitor import KernelMonitor
from calico.dataplane.namespaces import identify, not_for_tasks, still_held
from calico.dataplane.netlink.inspection import KernelInspector
from calico.dataplane.state import HostFacts
from calico.errors import DataplaneError, DataplaneUnsupported
from reconciler.agent.attachments.files import AttachmentFiles
from reconciler.agent.attachments.service import AttachService
from reconciler.agent.belief import PREFIXES
from reconciler.agent.locators.api import Locator, LocatorName
from reconciler.agent.locators.docker import DockerLocator
from reconciler.agent.locators.docker_api import DockerEngine
from reconciler.agent.locators.docker_events import DockerEvents
from reconciler.agent.locators.mesos import MesosLocator
from reconciler.agent.locators.mesos_agent import PATIENT_READ_TIMEOUT, MesosAgent
from reconciler.agent.locators.proc import ProcLocator
from reconciler.agent.loop import AgentLoop, LoopMessage, Outlets, Searcher, Stop
from reconciler.agent.observation.leader import LeaderReader
from reconciler.agent.observation.lookout import KernelPages
from reconciler.agent.observation.surveyor import Surveyor
from reconciler.agent.observation.watcher import Watcher
from reconciler.agent.preflight import (
    NotFit,
    expect_capabilities,
    expect_no_felix,
    expect_settings,
    expect_state_directory,
    only_agent,
)
from reconciler.agent.reconciliation.passes import HostSettings
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.reporting.host_identity import Machine
from reconciler.agent.reporting.metrics import AgentMetrics
from reconciler.agent.reporting.registration import read_boot_id, read_machine_id
from reconciler.agent.reporting.reporter import Reporter
from reconciler.agent.settings import AgentSettings
from reconciler.agent.state_file import StateFileError, StateSaver, read_state
from reconciler.attach.calls.cni import CniCalls
from reconciler.attach.calls.netmodules import answer_netmodules
from reconciler.attach.listening import SocketTaken
from reconciler.attach.refusals import Refusals
from reconciler.runtime.clock import SystemClock, random_fraction
from reconciler.runtime.inbox import Inbox
from reconciler.runtime.listener import Listener
from reconciler.runtime.signals import stopped_by_signals
from reconciler.runtime.threads import start_thread
from reconciler.runtime.watchfeed import Bookmark, FeedMessage, WatchFeed, read_anew

log = logging.getLogger(__name__)

NOT_FIT = 2
#: Seconds that a datastore which does not answer keeps an agent from its work.
NAME_WITHIN = 1.0
STATE_FILE, ATTACHMENTS = "state", "attachments"


def run_agent(settings: AgentSettings) -> int:
    """Run until a signal; tells the exit code.

    What this machine lacks is one line on standard error and exit code 2. The
    kernel is left as it is, whatever ends the agent.
    """
    try:
        with only_agent():
            expect_capabilities()
            expect_settings()
            expect_state_directory(settings.state_dir)
            expect_no_felix(_felix_chains(KernelFirewalls()))
            _run(settings, KernelDataplane(mark=settings.mark), KernelMonitor())
    except (NotFit, DataplaneUnsupported, SocketTaken) as error:
        print(f"marathon-calico agent: {error}", file=sys.stderr)
        return NOT_FIT
    return 0


def _run(settings: AgentSettings, dataplane: Dataplane, monitor: Monitor) -> None:
    share_heap()
    clock = SystemClock()
    inbox: Inbox[LoopMessage] = Inbox()
    stop = threading.Event()
    metrics = AgentMetrics()
    host = _host_settings(settings)
    # Says at once what the kernel refuses, and opens the dataplane in this
    # thread, which is the one that will use it.
    facts = _expect_dataplane(dataplane, host)
    feeds: list[WatchFeed] = []
    service = AttachService(
        settings.host,
        AttachmentFiles(settings.state_dir / ATTACHMENTS, host.boot_id),
        settings.open_datastore(),
        clock,
        inbox.post,
        facts.mtu,
        still_held,
        MesosAgent(settings.mesos_agent, PATIENT_READ_TIMEOUT).tasks_by_container,
        read_anew=lambda: read_anew(feeds),
    )
    reconciler = HostReconciler(host, dataplane, clock, still_held, service.chores)
    _restore(reconciler, settings)
    reconciler.hold(service.restore())
    reporter = Reporter(
        settings.host,
        settings.open_datastore(),
        clock,
        random_fraction,
        Machine(host.boot_id, read_machine_id()),
        lambda: inbox.post(Stop()),
    )
    saver = StateSaver(settings.state_dir / STATE_FILE, inbox.post)
    searcher = Searcher(_locators(settings), inbox.post)
    watcher = Watcher(monitor, inbox.post)
    surveyor = Surveyor(KernelFirewalls(), inbox.post)
    # Before the first look: what is changed after it is noticed.
    watcher.open()
    refusals = Refusals(clock, metrics.note_refusal)
    loop = AgentLoop(
        reconciler,
        host,
        inbox,
        Outlets(reporter.post, saver.post, searcher.post),
        metrics,
        clock,
        refusals.last,
    )
    translators = {"cni": CniCalls(settings.networks).answer, "netmodules": answer_netmodules}
    pages = {"/healthz": loop.health, "/readyz": loop.readiness}
    kernel = KernelPages(inbox.post, KernelInspector())
    listener = Listener(settings.listen, pages, metrics.registry, kernel.readers())
    with ExitStack() as stack:
        try:
            stack.enter_context(listener)
        except OSError as error:
            raise NotFit(f"cannot listen on {settings.listen}: {error.strerror}") from error
        stack.enter_context(stopped_by_signals(lambda: inbox.post(Stop())))
        stack.callback(stop.set)
        stack.enter_context(service.serving(settings.socket, translators, stop, refusals.note))
        print(listener.announcement("agent"), flush=True)
        log.info("agent started", extra={"host": settings.host, "listen": str(listener.address)})
        start_thread("reporter", partial(reporter.run, stop))
        feeds += _follow(settings, inbox.post, stop)
        reader = LeaderReader(
            settings.open_datastore(), inbox.post, lambda: reconciler.is_vouched_for
        )
        start_thread("leader", partial(reader.run, stop))
        start_thread("saver", partial(saver.run, stop))
        start_thread("searcher", partial(searcher.run, stop))
        start_thread("surveyor", partial(surveyor.run, stop))
        start_thread("watcher", partial(watcher.run, stop))
        if "docker" in settings.locators:
            events = DockerEvents(DockerEngine(settings.docker_socket), inbox.post)
            start_thread("docker events", partial(events.run, stop))
        # Under another machine's name nothing is done; who has it is asked once.
        reporter.asked.wait(NAME_WITHIN)
        loop.run(str(listener.address))
        log.info("agent stopped", extra={"host": settings.host})
        if reporter.why_not:
            raise NotFit(reporter.why_not)


def _follow(
    settings: AgentSettings, post: Callable[[FeedMessage | Bookmark], None], stop: threading.Event
) -> list[WatchFeed]:
    """Follow the datastore in threads of their own."""
    feeds = [
        WatchFeed(prefix, settings.open_datastore, post, stop, post_bookmark=post)
        for prefix in PREFIXES
    ]
    for feed in feeds:
        feed.start()
    return feeds


def _host_settings(settings: AgentSettings) -> HostSettings:
    return HostSettings(
        host=settings.host,
        boot_id=read_boot_id(),
        address=settings.address,
        mark=settings.mark,
        host_ports=settings.host_ports,
        protected=settings.protected,
        route_to_hosts=settings.route_to_hosts,
        locators=settings.locators,
    )


def _felix_chains(firewalls: Firewalls) -> tuple[str, ...]:
    firewalls.open()
    try:
        return firewalls.read().felix
    except DataplaneError as error:
        # To read it is no condition; that it cannot be is told again and again.
        log.warning("other programs' firewalls not read", extra={"why": str(error)})
        return ()
    finally:
        firewalls.close()


def _expect_dataplane(dataplane: Dataplane, host: HostSettings) -> HostFacts:
    try:
        return dataplane.facts(host.address)
    except DataplaneUnsupported:
        raise
    except DataplaneError as error:
        raise NotFit(f"the kernel cannot be read: {error}") from error


def _restore(reconciler: HostReconciler, settings: AgentSettings) -> None:
    path: Path = settings.state_dir / STATE_FILE
    try:
        saved = read_state(path, settings.host)
    except StateFileError as error:
        # The kernel stays as it is; only what etcd says can change it.
        log.warning("state file not used", extra={"path": str(path), "why": str(error)})
        return
    if saved is not None:
        reconciler.restore(saved)


def _locators(settings: AgentSettings) -> tuple[Locator, ...]:
    own = not_for_tasks()
    mesos = MesosAgent(settings.mesos_agent)

    def locator(name: LocatorName) -> Locator:
        match name:
            case "mesos":
                return MesosLocator(mesos, identify, own)
            case "docker":
                engine = DockerEngine(settings.docker_socket)
                return DockerLocator(engine, mesos, identify, own)
            case "proc":
                return ProcLocator(identify, own)
            case _:
                assert_never(name)

    return tuple(map(locator, dict.fromkeys(settings.locators)))
