"""Waits until no packet is under way any more that an earlier table has judged.

A packet that was let pass a moment ago is tracked only when it leaves. So its
connection may come to be after the connections were looked through, and stay.
The kernel handles a packet from its arrival to its leaving within one of the
sections that it waits for here.
"""

import ctypes
import os
import time

GLOBAL = 1
#: What the system call is numbered, by machine; newer machines share a number.
_NUMBERS = {"x86_64": 324, "i386": 375, "i686": 375, "ppc64le": 365, "s390x": 356}
_SHARED_NUMBER = 283
#: Seconds to wait where the kernel does not offer to: more than it takes as a rule.
FALLBACK = 0.05

_libc = ctypes.CDLL(None, use_errno=True)


def wait_for_packets_under_way() -> None:
    """Return when every packet that was under way has gone, or was dropped."""
    number = _NUMBERS.get(os.uname().machine, _SHARED_NUMBER)
    if _libc.syscall(number, GLOBAL, 0, 0) != 0:
        time.sleep(FALLBACK)
