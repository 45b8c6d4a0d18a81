"""Where Data Factory is called back."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

from .servers import Answer, HttpServer, Request


class Receiver(HttpServer):
    """Takes callbacks, each at an address of its own."""

    def __init__(self) -> None:
        """Waits for none yet."""
        super().__init__()
        self._lock = threading.Condition()
        self._bodies: dict[str, Any] = {}
        self.busy = 0
        """How many callbacks are answered with 503 first."""
        self.refused: list[int] = []

    def address(self) -> str:
        """A new address to call back."""
        return f"{self.url}/{uuid.uuid4()}"

    def wait(self, address: str, seconds: float) -> dict[str, Any] | None:
        """What came to an address; `None` when nothing came in time."""
        path = address.removeprefix(self.url)
        with self._lock:
            self._lock.wait_for(lambda: path in self._bodies, timeout=seconds)
            return self._bodies.get(path)

    def answer(self, request: Request) -> Answer:
        """Takes a callback as Data Factory does."""
        with self._lock:
            status = self._judge(request)
            if status != 200:
                self.refused.append(status)
                return Answer(status)
            self._bodies.setdefault(request.path, json.loads(request.body))
            self._lock.notify_all()
        return Answer(200)

    def _judge(self, request: Request) -> int:
        if request.headers.get("content-type") != "application/json":
            return 415
        if self.busy:
            self.busy -= 1
            return 503
        return 200
