"""What the C library does with memory that nobody uses any more.

It keeps it, and apart for each thread: after a large list was read and a large
table brought in, half of an agent's memory would be of no use to anybody.
"""

import ctypes
from collections.abc import Callable

#: mallopt's name for the number of places that memory is taken from.
M_ARENA_MAX = -8

_libc = ctypes.CDLL(None)


def share_heap() -> None:
    """Let all threads take memory from one place; to be called before there are any."""
    _call("mallopt", M_ARENA_MAX, 1)


def give_back_heap() -> None:
    """Give the system what is free; takes some milliseconds."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    # Other C libraries than GNU's have neither, and less to give back.
    function: Callable[..., int] | None = getattr(_libc, name, None)
    if function is not None:
        function(*arguments)
