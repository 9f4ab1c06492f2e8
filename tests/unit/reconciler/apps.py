"""Apps and tasks for tests, with the fewest words."""

from netaddr import IPAddress

from calico.model import BootId, HostName, HostRecord
from marathon_client.models import (
    App,
    AppId,
    AppNetwork,
    NetworkForm,
    NetworkMode,
    PortOpening,
    Task,
    TaskId,
    TaskState,
)

V1, V2, V3 = "2016-01-01T00:00:01.000Z", "2016-01-01T00:00:02.000Z", "2016-01-01T00:00:03.000Z"
HOST = HostRecord(HostName("h1"), IPAddress("172.31.0.1"), BootId("boot"), "machine", "1")
HOSTS = {HOST.name: HOST}
WEB = (PortOpening(80, "tcp", "web"),)


def network(
    *groups: str,
    ports: tuple[PortOpening, ...] = WEB,
    labels: tuple[tuple[str, str], ...] = (),
    name: str | None = None,
    mode: NetworkMode = NetworkMode.CONTAINER,
    form: NetworkForm = NetworkForm.IP_ADDRESS,
) -> AppNetwork:
    """An `ipAddress` with these groups."""
    return AppNetwork(mode, name, groups, labels, ports, form)


def task(
    name: str,
    app: str = "/app",
    version: str = V1,
    state: TaskState = TaskState.RUNNING,
    host: str | None = "h1",
    ports: tuple[int, ...] = (),
) -> Task:
    """A task of an app."""
    return Task(TaskId(name), AppId(app), host, state, ports=ports, version=version)


def app(
    *tasks: Task,
    name: str = "/app",
    net: AppNetwork | None = None,
    version: str = V1,
    config_version: str = V1,
    labels: tuple[tuple[str, str], ...] = (),
) -> App:
    """An app with these tasks, in group `g` unless told otherwise."""
    return App(
        AppId(name),
        version,
        config_version,
        (network("g") if net is None else net,),
        labels,
        len(tasks),
        tasks,
    )
