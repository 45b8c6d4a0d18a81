"""A proxy before the service that fails as networks and load balancers do: after the service has done its work."""

from __future__ import annotations

import http.client
import re
import threading
from typing import Literal
from urllib.parse import urlsplit

from .servers import Answer, HttpServer, Request

Fault = Literal["busy", "drop", "gone", "redirect"]
"""`busy`: 503; `drop`: the connection is closed. Both after the request was forwarded. `gone`: closed without
forwarding; `redirect`: 302 without forwarding."""


class FlakyProxy(HttpServer):
    """Forwards to the service, but for the faults it was told to make."""

    def __init__(self, target: str) -> None:
        """Before the service at this address."""
        super().__init__()
        self._host = urlsplit(target).netloc
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, str, int]] = []
        self.made: list[Fault] = []
        self.seen: list[Request] = []

    def fail(self, fault: Fault, matching: str, times: int = 1) -> None:
        """Makes the next requests fail whose method and path match."""
        with self._lock:
            self._faults.append((fault, matching, times))

    def _fault(self, request: Request) -> Fault | None:
        with self._lock:
            self.seen.append(request)
            for index, (fault, matching, times) in enumerate(self._faults):
                if times and re.search(matching, f"{request.method} {urlsplit(request.path).path}"):
                    self._faults[index] = (fault, matching, times - 1)
                    self.made.append(fault)
                    return fault
        return None

    def answer(self, request: Request) -> Answer | None:
        """The service's answer, or a fault."""
        fault = self._fault(request)
        if fault == "gone":
            return None
        if fault == "redirect":
            return Answer(302, headers={"location": "/elsewhere"})
        service = http.client.HTTPConnection(self._host, timeout=90)
        try:
            # The host stays the proxy's, so that links lead through it.
            service.request(request.method, request.path, request.body, request.headers)
            response = service.getresponse()
            answer = Answer(response.status, response.read())
            for name, value in response.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                    answer.headers[name] = value
        finally:
            service.close()
        if fault == "busy":
            return Answer.json(503, {"code": "busy", "detail": "try later"})
        return None if fault == "drop" else answer
