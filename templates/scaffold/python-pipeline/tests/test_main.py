"""Tests that need no service and no cloud: `python -m unittest discover tests`."""

import gzip
import json
import pathlib
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import main

ORDERS = [
    {"id": number, "updated_at": f"2026-01-0{number}T00:00:00Z"}
    for number in range(1, 6)
]


class Api(BaseHTTPRequestHandler):
    """A source with two orders a page."""

    def do_GET(self):
        """Answer with a page."""
        begin = int(self.path.partition("cursor=")[2] or 0)
        following = str(begin + 2) if begin + 2 < len(ORDERS) else None
        body = json.dumps(
            {"data": ORDERS[begin : begin + 2], "next": following}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


class Load(unittest.TestCase):
    """What is loaded."""

    def test_all_pages_are_in_the_lake(self):
        """No order is lost, none comes twice."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        with tempfile.TemporaryDirectory() as lake:
            loaded = main.load(f"http://127.0.0.1:{server.server_port}", "token", lake)
            files = pathlib.Path(lake, "orders").rglob("*.jsonl.gz")
            records = [
                json.loads(line)
                for file in files
                for line in gzip.decompress(file.read_bytes()).splitlines()
            ]
        self.assertEqual(loaded.rows, 5)
        self.assertEqual(records, ORDERS)
