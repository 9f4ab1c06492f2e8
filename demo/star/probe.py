"""The probe: it is reached, and `GET /status` says which targets it reaches."""

from __future__ import annotations

import argparse
import signal

from demo.star.listener import Document, open_listeners, serve


def main() -> None:
    """Listen on the given port of every address until the process is ended."""
    parser = argparse.ArgumentParser(prog="star-probe")
    parser.add_argument("--port", "--http-port", type=int, default=9000)
    parser.add_argument("--linger", type=float, default=0.0, help="seconds to go on after SIGTERM")
    parser.add_argument("--urls", default="", help="comma-delimited URLs to probe")
    options = parser.parse_args()
    if options.linger > 0:
        # The alarm ends the process; until then it answers as before.
        signal.signal(
            signal.SIGTERM,
            lambda _number, _frame: signal.setitimer(signal.ITIMER_REAL, options.linger),
        )
    listeners = open_listeners(options.port)
    try:
        status = _probe_targets(options.urls) if options.urls else _no_targets
    except ValueError as error:
        parser.error(f"--urls: {error}")
    serve(listeners, {"/status": status})


def _no_targets() -> object:
    return {"status": {"targets": []}}


def _probe_targets(urls: str) -> Document:
    # Not above: connections wait in the backlog meanwhile, and none is refused.
    from demo.star.fetch import resolve_shortly  # noqa: PLC0415 - see above
    from demo.star.targets import Targets, parse_urls  # noqa: PLC0415 - see above

    resolve_shortly()
    targets = Targets(parse_urls(urls))
    targets.run()
    return targets.status


if __name__ == "__main__":
    main()
