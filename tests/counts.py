"""How often a test repeats what goes wrong only once in many times.

The one place for it: `make test` takes the few, `make soak` (`--soak`) the many.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Under a flood: agents ended by kill -9, policies changed, hosts rebooted.

    `policies` are those whose every packet is compared with what it should be,
    `schedules` those of the simulator, which spoils one of `stride` positions.
    """

    kills: int
    changes: int
    reboots: int
    policies: int
    schedules: int
    stride: int


FEW = Counts(kills=20, changes=100, reboots=2, policies=150, schedules=2_000, stride=12)
MANY = Counts(kills=200, changes=1000, reboots=20, policies=5000, schedules=10_000, stride=1)
