"""How the demo's servers hold a connection of HTTP/1.1."""

from http.server import BaseHTTPRequestHandler


class KeptConnection(BaseHTTPRequestHandler):
    """Stays open for further requests, and sends each answer at once."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """A client that goes away in the middle is no error of ours."""
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True
