"""Every test here runs in a network namespace of its own.

As root it needs nothing; otherwise run pytest inside
`unshare --user --map-root-user --net --mount`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.kernel.namespaces import Namespace, fresh_network

REMEDY = "no right to make network namespaces: run inside unshare --user --map-root-user --net"


@pytest.fixture(autouse=True)
def host_network() -> Iterator[None]:
    """The test's thread is in a fresh network namespace, which plays the host."""
    with ExitStack() as stack:
        try:
            stack.enter_context(fresh_network())
        except PermissionError:
            pytest.skip(REMEDY)
        yield


@pytest.fixture
def namespace(host_network: None) -> Iterator[Callable[[], Namespace]]:
    """Makes network namespaces, each kept by a sleeping process; ends them all."""
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace.start())
        return made[-1]

    yield make
    for each in made:
        each.end()
