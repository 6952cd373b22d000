"""`python snippet.py FILE`: run the program in FILE as a reader would, on this machine alone.

Its https hosts are one server on loopback, which grants every token and answers every request. So
any HTTP client may be used, over real sockets.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GRANTED = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 36_000}
LOGGED_IN = {"token": "a-token", "seconds": 36_000}
"""What an API with a login of its own might answer."""


class Answers(BaseHTTPRequestHandler):
    """Yes to everything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"results": []})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(GRANTED | LOGGED_IN)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def _send(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
base_url = f"http://127.0.0.1:{server.server_port}"
os.environ["SQUADRUN_BASE_URL"] = base_url
with open(sys.argv[1], encoding="utf-8") as file:
    text = re.sub(r"https://[\w.-]+", base_url, file.read())
exec(compile(text, sys.argv[1], "exec"), {"__name__": "__main__"})  # noqa: S102  a page's own
server.shutdown()
server.server_close()
