"""A reverse proxy that serves a Jobyard under a prefix of the path and passes on everything else as it came, as nginx would."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.waiting import LIMIT_S

TIMEOUT_S = 30.0
NOT_PASSED_ON = {"connection", "transfer-encoding", "keep-alive"}


class PrefixProxy(BaseHTTPRequestHandler):
    """Answers one connection; a subclass says for which prefix and port."""

    protocol_version = "HTTP/1.1"
    prefix = ""
    port = 0

    def do_GET(self) -> None:
        """Pass on."""
        if self.path == self.prefix:
            self._answer(301, {"Location": f"{self.prefix}/"}, b"")
        elif not self.path.startswith(f"{self.prefix}/"):
            self._answer(404, {}, b"another application")
        else:
            self._pass_on(self.path.removeprefix(self.prefix))

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def _pass_on(self, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in NOT_PASSED_ON}
            connection.request(self.command, path, body or None, headers)
            response = connection.getresponse()
            self._answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {*NOT_PASSED_ON, "content-length"}:
                self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serve_under(prefix: str, port: int) -> Iterator[str]:
    """The URL under which the service on this port can be reached through the proxy."""
    handler = type("Handler", (PrefixProxy,), {"prefix": prefix, "port": port})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{prefix}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LIMIT_S)
