"""A datastore in memory and its clock, for every test of an agent that wants them."""

import pytest

from calico.datastore.memory import MemoryDatastore
from reconciler.runtime.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def memory(clock: ManualClock) -> MemoryDatastore:
    return MemoryDatastore(clock.monotonic)
