"""The Mesos agent of a host: has a plugin attach containers, and take them away again."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from netaddr import IPAddress

from calico.model import ContainerId, TaskId
from marathon_client.models import AppId, TaskState
from reconciler.agent.attachments.service import AttachService
from reconciler.attach.api import AttachError
from reconciler.attach.calls.cni import CniCalls
from reconciler.attach.plugin import WAIT
from tests.simulation.actions import Fate
from tests.simulation.conditions import SteppedCondition
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.twins.host import HostTwin
from tests.simulation.twins.marathon import MarathonTwin

#: As Mesos writes it; it reads the form of 0.2.0 alone.
CONFIG = json.dumps(
    {
        "cniVersion": "0.2.0",
        "name": "calico",
        "type": "marathon-calico-cni",
        "args": {"org.apache.mesos": {"network_info": {"name": "calico"}}},
    }
)
NO_DESCRIPTOR = -1
#: Seconds until an executor has registered, until a plugin that failed is seen, and
#: until a host that starts anew runs its Mesos agent.
REGISTERS_AFTER, LOOKS_AGAIN, BACK_AFTER = 0.3, 0.5, 25.0


@dataclass(frozen=True, slots=True)
class Serving:
    """The socket of a running agent."""

    process: Process
    service: AttachService


class Runtime:
    """Starts and ends the containers of one host; it lives as long as the host is up."""

    def __init__(
        self,
        scheduler: Scheduler,
        host: HostTwin,
        marathon: MarathonTwin,
        touch: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        """`touch` is told when a container or its namespace comes or goes."""
        self._touch = touch
        self._log = log
        self._scheduler = scheduler
        self._host = host
        self._marathon = marathon
        # It is no process of the product: nobody starts it.
        self._process = scheduler.process(f"m{host.number}", is_restarted=False)
        self._fates: dict[ContainerId, Fate] = {}
        #: Where plugins reach the agent; None while none runs.
        self.serving: Serving | None = None

    def fate(self, task: TaskId) -> Fate:
        """What becomes of a living task's container."""
        container = self._host.container_of(task)
        return Fate() if container is None else self._fates[container]

    def launch(self, app: AppId, task: TaskId, fate: Fate) -> None:
        """Begin a container; its task runs once it is attached, and fails if it is not."""
        container = ContainerId(f"box-{task}")
        self._fates[container] = fate
        self._host.start_container(task, container)
        self._touch()
        self._marathon.stage(app, task, self._host.name)
        self._process.spawn(lambda: self._launch(task, container))

    def end(self, task: TaskId) -> None:
        """End a task's processes; the plugin is called afterwards, or never."""
        container = self._host.container_of(task)
        self._host.end_task(task)
        if container is not None:
            self._process.spawn(lambda: self._clean_up(container))
        self._touch()

    def reboot(self, ended: list[ContainerId]) -> None:
        """The host starts anew; what it had is taken away without a namespace."""
        self._scheduler.reap(self._process)

        def recover() -> None:
            self._scheduler.sleep(BACK_AFTER)
            for container in ended:
                if self._fates[container].dels:
                    self._call("DEL", container, NO_DESCRIPTOR)

        self._process.spawn(recover)

    def _launch(self, task: TaskId, container: ContainerId) -> None:
        address = None
        for _ in range(self._fates[container].adds):
            address = self._add(container)
            self._log(f"{container} got {address}")
        if container not in self._host.containers:
            # It was killed meanwhile; taken away by whoever did it, or just now.
            return
        if address is None:
            self._marathon.end(frozenset[str]((task,)), TaskState.FAILED)
            self.end(task)
            return
        self._scheduler.sleep(REGISTERS_AFTER)
        if container in self._host.containers:
            self._marathon.run(task, address)

    def _clean_up(self, container: ContainerId) -> None:
        fate = self._fates[container]
        if fate.unmounts_first:
            self._unmount(container)
        for _ in range(fate.dels):
            done = self._call("DEL", container, NO_DESCRIPTOR) is not None
            self._log(f"{container} {'is' if done else 'is not'} taken away")
        self._unmount(container)

    def _unmount(self, container: ContainerId) -> None:
        self._host.unmount(container)
        self._touch()

    def _add(self, container: ContainerId) -> IPAddress | None:
        ref = self._host.mounted.get(container)
        if ref is None:
            return None
        descriptor = self._host.open_namespace(ref)
        printed = self._call("ADD", container, descriptor)
        return None if printed is None else IPAddress(json.loads(printed)["ip4"]["ip"][:-3])

    def _call(self, command: str, container: ContainerId, descriptor: int) -> str | None:
        """Run the plugin; what it prints, None if it fails."""
        serving = self.serving
        if serving is None or not serving.process.alive:
            return None
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/mesos/{container}/ns" if command == "ADD" else "",
            "CNI_IFNAME": "eth0",
        }
        request = {"environment": environment, "input": CONFIG}
        answers: list[str | None] = []
        changed = SteppedCondition(self._scheduler)
        left = False

        def serve(service: AttachService) -> None:
            if left:
                return
            try:
                with service.attacher.in_time():
                    answered = CniCalls().answer(request, service.attacher, descriptor)
            except AttachError:
                answers.append(None)
            else:
                answers.append(None if answered.code else answered.text)
            changed.notify_all()

        thread = serving.process.spawn(partial(serve, serving.service))
        end = self._scheduler.now() + WAIT
        while not answers and not thread.gone and self._scheduler.now() < end:
            changed.wait(LOOKS_AGAIN)
        left = True
        return answers[0] if answers else None
