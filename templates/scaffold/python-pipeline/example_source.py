"""An API to try the script with until it has its own; then remove this file. The tests use it too."""

import contextlib
import http.server
import json
import threading
import urllib.parse

ORDERS = [{"id": number, "updated": f"2026-01-{number:02}T00:00:00Z", "total": number * 10} for number in range(1, 8)]
PAGE = 3


class _Orders(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        begin = int(asked.get("cursor", 0))
        orders = [order for order in ORDERS if order["updated"] >= asked.get("since", "")]
        more = begin + PAGE < len(orders)
        body = json.dumps({"data": orders[begin : begin + PAGE], "next": begin + PAGE if more else None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve():
    """Give out the orders at the address that this yields."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Orders)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
