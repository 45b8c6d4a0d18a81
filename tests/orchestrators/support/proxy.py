"""A proxy before the service that fails as networks and load balancers do."""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What is done to the next requests that match."""

    kind: str
    """`lose_answer`: forwarded, the answer is lost; `lose_request`: not forwarded; `cut_answer`: half of the body
    comes; `busy`: 503 with Retry-After."""
    matching: str
    """A regular expression on method and path, like `POST .*/runs$`."""
    times: int = 1
    retry_after: int = 0


class FlakyProxy:
    """Forwards to the service, but for the faults it was told to make. Counts what it forwarded."""

    def __init__(self, target: str) -> None:
        """Starts it on a free port."""
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.forwarded: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        proxy = self
        host = urlsplit(target).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy._handle(self, host)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Clients that go away are none of our business."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def fail(self, kind: str, matching: str, *, times: int = 1, retry_after: int = 0) -> None:
        """Makes the next requests that match fail."""
        with self._lock:
            self._faults.append(Fault(kind, matching, times, retry_after))

    def _fault(self, request: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times and re.search(fault.matching, request):
                    fault.times -= 1
                    self.made[fault.kind] += 1
                    return fault
        return None

    def _handle(self, request: BaseHTTPRequestHandler, host: str) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        path = request.path.partition("?")[0]
        fault = self._fault(f"{request.command} {path}")
        if fault and fault.kind == "lose_request":
            return self._drop(request)
        if fault and fault.kind == "busy":
            problem = b'{"type": "about:blank", "title": "Busy", "status": 503, "code": "busy", "detail": "try later"}'
            headers = {
                "content-type": "application/problem+json",
                "retry-after": str(fault.retry_after),
            }
            return self._answer(request, 503, headers, problem)
        upstream = http.client.HTTPConnection(host, timeout=90)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
            upstream.request(request.command, request.path, body, headers)
            response = upstream.getresponse()
            answer = response.read()
        finally:
            upstream.close()
        with self._lock:
            self.forwarded[f"{request.command} {path}"] += 1
        if fault and fault.kind == "lose_answer":
            return self._drop(request)
        kept = {name.lower(): value for name, value in response.getheaders()}
        kept.pop("transfer-encoding", None)
        cut = fault is not None and fault.kind == "cut_answer"
        return self._answer(request, response.status, kept, answer, cut)

    @staticmethod
    def _answer(
        request: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes,
        cut: bool = False,
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            if name not in ("content-length", "connection"):
                request.send_header(name, value)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            FlakyProxy._drop(request)

    @staticmethod
    def _drop(request: BaseHTTPRequestHandler) -> None:
        request.wfile.flush()
        request.close_connection = True

    def __enter__(self) -> FlakyProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
