"""What the controller counts."""

from collections.abc import Callable, Collection
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from calico.cluster import HoldKind, HoldRecord
from marathon_client.stream import StreamStats


class ControllerMetrics:
    """Metrics of one controller in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "marathon_calico_controller"
        self.reconciles = Counter(
            f"{prefix}_reconciles",
            "Looks at one app, by outcome",
            ["outcome"],
            registry=self.registry,
        )
        self.resyncs = Counter(
            f"{prefix}_resyncs", "Complete lists, by outcome", ["outcome"], registry=self.registry
        )
        self.drift = Counter(
            f"{prefix}_drift",
            "Tasks that a timed list, not an event, brought up to date",
            registry=self.registry,
        )
        self.withdrawals = Counter(
            f"{prefix}_withdrawals", "Tasks that lost their network", registry=self.registry
        )
        self.releases = Counter(
            f"{prefix}_releases", "Addresses given back to their pool", registry=self.registry
        )
        self.profiles = Counter(
            f"{prefix}_profiles_collected",
            "Profiles of apps that nothing referred to any more",
            registry=self.registry,
        )
        self.events = Counter(
            f"{prefix}_events", "Marathon's events, by type", ["type"], registry=self.registry
        )
        self.held = Gauge(
            f"{prefix}_held_removals", "Removals that wait for proof", registry=self.registry
        )
        self._holds = Gauge(
            f"{prefix}_held",
            "What waits for an operator, by kind; see `marathon-calico holds`",
            ["kind"],
            registry=self.registry,
        )
        self.tasks = Gauge(
            f"{prefix}_tasks",
            "Tasks with a record, by verdict",
            ["verdict"],
            registry=self.registry,
        )
        self.leader = Gauge(
            f"{prefix}_leader", "1 while this controller holds the lease", registry=self.registry
        )
        self._since_resync = Gauge(
            f"{prefix}_seconds_since_resync",
            "Age of the last complete list",
            registry=self.registry,
        )
        self._since_byte = Gauge(
            f"{prefix}_seconds_since_byte", "Age of the stream's last byte", registry=self.registry
        )
        self._connected = Gauge(
            f"{prefix}_stream_connected", "1 while an event stream is open", registry=self.registry
        )
        self.agents = Gauge(
            f"{prefix}_mesos_agents",
            "Mesos agents, if their app is kept in step with them; NaN while not known",
            registry=self.registry,
        )
        self.agents.set(float("nan"))
        self.scalings = Counter(
            f"{prefix}_agents_scalings",
            "Changes of the number of instances of the agents' app",
            ["direction"],
            registry=self.registry,
        )
        self.duration = Histogram(
            f"{prefix}_reconcile_seconds", "Time for one look at one app", registry=self.registry
        )

    def follow(
        self,
        resync_age: Callable[[], float],
        stream: Callable[[], StreamStats],
        holds: Callable[[], Collection[HoldRecord]],
    ) -> None:
        """Ask for these ages whenever the metrics are read; NaN before the first."""

        def since_byte() -> float:
            age = stream().since_byte
            return float("nan") if age is None else age

        def waiting(kind: HoldKind) -> float:
            return float(sum(len(each.subjects) for each in holds() if each.kind is kind))

        for kind in HoldKind:
            self._holds.labels(kind.value).set_function(partial(waiting, kind))
        self._since_resync.set_function(resync_age)
        self._since_byte.set_function(since_byte)
        self._connected.set_function(lambda: float(stream().connected))
