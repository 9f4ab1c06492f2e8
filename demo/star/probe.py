"""The probe: `GET /status` says which targets it reaches; it listens only, so far."""

from __future__ import annotations

import argparse
import signal

from demo.star.listener import open_listeners, serve


def main() -> None:
    """Listen on the given port of every address until the process is ended."""
    parser = argparse.ArgumentParser(prog="star-probe")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--linger", type=float, default=0.0, help="seconds to go on after SIGTERM")
    options = parser.parse_args()
    if options.linger > 0:
        # The alarm ends the process; until then it answers as before.
        signal.signal(
            signal.SIGTERM,
            lambda _number, _frame: signal.setitimer(signal.ITIMER_REAL, options.linger),
        )
    serve(open_listeners(options.port), {"/status": {"status": {"targets": []}}})


if __name__ == "__main__":
    main()
