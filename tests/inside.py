"""Runs pytest in the fresh network namespace that it is started in.

`unshare --user --map-root-user --net --mount python -m tests.inside ARGS` gives
an ordinary user the right to make network namespaces. Loopback is down in a
fresh one, and servers under test listen there.
"""

import os
import sys

from tests.kernel.namespaces import raise_loopback

if __name__ == "__main__":
    raise_loopback()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[1:]])
