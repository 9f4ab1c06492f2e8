"""What the name server counts."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class DnsMetrics:
    """Metrics of one name server in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "marathon_calico_dns"
        questions = Counter(
            f"{prefix}_questions",
            "Messages that came, by what became of them",
            ["outcome"],
            registry=self.registry,
        )
        self.answered = questions.labels("answered")
        self.forwarded = questions.labels("forwarded")
        self.failed = questions.labels("failed")
        self.refused = questions.labels("refused")
        self.malformed = questions.labels("malformed")
        self._gauges = {
            name: Gauge(f"{prefix}_{name}", text, registry=self.registry)
            for name, text in (
                ("names", "Names that have records"),
                ("tasks", "Tasks that have names"),
                ("connections", "Streams that are open"),
                ("under_way", "Questions that others were asked"),
                ("unreachable", "1 while the datastore does not answer"),
            )
        }

    def follow(self, name: str, read: Callable[[], float]) -> None:
        """Ask for this value whenever the metrics are read."""
        self._gauges[name].set_function(read)
