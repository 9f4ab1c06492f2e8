"""The probe: `GET /status` says which targets it reaches; it listens only, so far."""

from __future__ import annotations

import argparse

from demo.star.listener import open_listeners, serve


def main() -> None:
    """Listen on the given port of every address until the process is ended."""
    parser = argparse.ArgumentParser(prog="star-probe")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    serve(open_listeners(options.port), {"/status": {"status": {"targets": []}}})


if __name__ == "__main__":
    main()
