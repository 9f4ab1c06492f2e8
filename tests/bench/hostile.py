"""How long a changed app waits for its network beside one hostile app among a thousand.

The controller on the store in memory, so that nothing but its own work counts;
each figure is a ratio to the same beside a usual app, in the same run.
"""

import time
from collections.abc import Iterator

from marathon_client.models import App
from tests.bench.report import Figure, median
from tests.unit.hostile.test_delays import HOSTILE, MOST, delays, usual

ROUNDS = 3


def measure() -> Iterator[Figure]:
    """Each kind of hostile app, in rounds between which the usual one is measured too."""
    ratios: dict[str, list[float]] = {name: [] for name in HOSTILE}
    for _ in range(ROUNDS):
        for name, each in HOSTILE.items():
            make, refusal = each
            beside = _seconds(usual(make()), None)
            ratios[name].append(_seconds(make(), refusal) / beside)
    for name, found in ratios.items():
        spread = (min(found), max(found))
        yield Figure(f"wait beside {name}", median(found), "x", MOST, spread=spread)


def _seconds(app: App, refusal: Exception | None) -> float:
    # Of the processor alone: it waits for nobody.
    return median(list(delays(app, refusal, time.process_time)))
