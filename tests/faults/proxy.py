"""A proxy of several doors in a thread of the test's own."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from tests.faults.door import EVERYBODY, Address, Door, Fault, parse_address

LOOPBACK = Address("127.0.0.1", 0)
SWITCH_SECONDS = 5.0


@asynccontextmanager
async def opened(
    places: Mapping[str, tuple[Address, Address]],
) -> AsyncIterator[Mapping[str, Door]]:
    """Doors by name, each from where it listens to where it leads, open within the body."""
    async with AsyncExitStack() as stack:
        doors = {}
        for name, (at, upstream) in places.items():
            doors[name] = Door(upstream)
            server = await doors[name].listen(at)
            stack.callback(doors[name].close)
            stack.callback(server.close)
        yield doors


class Proxy:
    """Doors that another thread serves."""

    def __init__(self, doors: Mapping[str, Door]) -> None:
        self.doors = doors
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()

    def switch(
        self, name: str, fault: Fault, seconds: float = 0.0, speaker: str = EVERYBODY
    ) -> None:
        """Return once this happens to what passes by that door.

        A `speaker` is the name of a door as well: that of the member of etcd that speaks.
        """
        of = self.doors[speaker].url if speaker else EVERYBODY
        done = self.doors[name].switch(fault, seconds, of)
        asyncio.run_coroutine_threadsafe(done, self._loop).result(SWITCH_SECONDS)

    def end(self) -> None:
        """Let the thread go."""
        self._loop.call_soon_threadsafe(self._ended.set)

    async def ended(self) -> None:
        """Return once it may go."""
        await self._ended.wait()


@contextmanager
def proxied(upstreams: Mapping[str, str]) -> Iterator[Proxy]:
    """A door on loopback before each server, which is an URL or HOST:PORT."""
    places = {name: (LOOPBACK, parse_address(each)) for name, each in upstreams.items()}
    started: queue.SimpleQueue[Proxy] = queue.SimpleQueue()

    async def serve() -> None:
        async with opened(places) as doors:
            proxy = Proxy(doors)
            started.put(proxy)
            await proxy.ended()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="fault proxy")
    thread.start()
    proxy = started.get(timeout=SWITCH_SECONDS)
    try:
        yield proxy
    finally:
        proxy.end()
        thread.join()


@contextmanager
def proxied_server(url: str) -> Iterator[Door]:
    """One door on loopback before one server."""
    with proxied({"server": url}) as proxy:
        yield proxy.doors["server"]
