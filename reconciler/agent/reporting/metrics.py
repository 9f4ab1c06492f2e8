"""What an agent counts and measures, for Prometheus."""

from collections import Counter as Tally

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from calico.model import EndpointState
from reconciler.agent.reconciliation.passes import Pass

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class AgentMetrics:
    """Metrics of one agent in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "marathon_calico_agent"
        self.passes = Counter(
            f"{prefix}_passes", "Passes, by outcome", ["outcome"], registry=self.registry
        )
        self.duration = Histogram(
            f"{prefix}_pass_seconds",
            "Time for one pass that looked at the kernel",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.changes = Counter(
            f"{prefix}_changes", "Changes of the kernel, by kind", ["kind"], registry=self.registry
        )
        self.foreign = Counter(
            f"{prefix}_foreign_changes",
            "Times that another program was seen to change what is ours",
            registry=self.registry,
        )
        self.endpoints = Gauge(
            f"{prefix}_endpoints", "Local endpoints, by status", ["status"], registry=self.registry
        )
        self.problems = Gauge(
            f"{prefix}_problems", "Problems of the host as a whole", registry=self.registry
        )
        self.lists = Counter(
            f"{prefix}_lists",
            "Complete lists from the datastore: a watch's start, or start over",
            ["prefix"],
            registry=self.registry,
        )
        self.lost = Counter(
            f"{prefix}_datastore_losses",
            "Times that the datastore stopped answering, by what was followed of it",
            ["prefix"],
            registry=self.registry,
        )
        self.age = Gauge(
            f"{prefix}_datastore_age_seconds",
            "Time since the datastore's state is no longer followed; 0 while it is",
            registry=self.registry,
        )
        self.revision = Gauge(
            f"{prefix}_applied_revision",
            "Newest datastore revision that the kernel reflects",
            registry=self.registry,
        )
        self.refused = Counter(
            f"{prefix}_refused_calls",
            "Calls of plugins that came to nothing, by who called and why: refused (the same"
            " words will not help), unavailable (they may later), unknown (no such container)",
            ["caller", "kind"],
            registry=self.registry,
        )

        # To look these up by their labels at each pass would be dear.
        self._passes = {True: self.passes.labels("settled"), False: self.passes.labels("unsettled")}
        self._endpoints = {state: self.endpoints.labels(state.value) for state in EndpointState}
        self._shown: dict[Gauge, int] = {}

    def note_refusal(self, caller: str, kind: str) -> None:
        """Count one call that came to nothing."""
        self.refused.labels(caller, kind).inc()

    def note(self, reached: Pass, seconds: float) -> None:
        """Count one pass."""
        self._passes[reached.settled].inc()
        if reached.looked:
            self.duration.observe(seconds)
        if reached.changes:
            kinds = Tally(type(change).__name__ for change in reached.changes)
            for kind, number in kinds.items():
                self.changes.labels(kind).inc(number)
        if reached.statuses is not None:
            states = [status.state for status in reached.statuses.values()]
            for state, gauge in self._endpoints.items():
                self._show(gauge, states.count(state))
        self._show(self.problems, len(reached.problems))
        self._show(self.revision, reached.revision)

    def _show(self, gauge: Gauge, value: int) -> None:
        """Set what is not shown already: each gauge has a lock to wait for."""
        if self._shown.get(gauge) != value:
            self._shown[gauge] = value
            gauge.set(value)
