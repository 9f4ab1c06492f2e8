"""What whoever opens the page is told while no collector runs."""

from __future__ import annotations

PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="1">
<title>Star: waiting for a collector</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 36rem; padding: 0 1rem }
</style>
<h1>No collector runs</h1>
<p>Its page appears here as soon as one does. <code>demo/launch-probes-isolated.sh</code>
starts one, so do the two other <code>demo/launch-probes</code> scripts.</p>
</html>
"""
REFUSAL = b'{"message":"no collector runs"}\n'
_SECURITY = b"default-src 'none'; style-src 'unsafe-inline'"


def respond(head: bytes) -> bytes:
    """The answer to a request of this head; nothing for who keeps a stream open.

    A browser's event stream that is answered with an error is never opened
    again; one whose connection breaks is.
    """
    accepted = _accepted(head)
    if b"text/event-stream" in accepted:
        return b""
    if b"text/html" in accepted:
        return _response(b"text/html; charset=utf-8", PAGE)
    return _response(b"application/json", REFUSAL)


def _accepted(head: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"accept":
            return value.lower()
    return b""


def _response(kind: bytes, body: bytes) -> bytes:
    return b"\r\n".join(
        (
            b"HTTP/1.1 503 Service Unavailable",
            b"Content-Type: " + kind,
            b"Content-Length: %d" % len(body),
            b"Content-Security-Policy: " + _SECURITY,
            b"Cache-Control: no-store",
            b"Retry-After: 1",
            b"Connection: close",
            b"",
            body,
        )
    )
