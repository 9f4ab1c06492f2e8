"""The collector: the same listener on its own port, so far without responses."""

from __future__ import annotations

import argparse

from demo.star.listener import open_listeners, serve


def main() -> None:
    """Listen on the given port of every address until the process is ended."""
    parser = argparse.ArgumentParser(prog="star-collect")
    parser.add_argument("--port", type=int, default=9001)
    options = parser.parse_args()
    serve(
        open_listeners(options.port),
        {"/status": {"status": {"targets": []}}, "/resources": {}, "/responses": {}},
    )


if __name__ == "__main__":
    main()
