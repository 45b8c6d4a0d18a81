"""One service for all tests of a session; each test makes jobs of its own."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from haulier import Haulier

from support.proxy import FlakyProxy
from support.service import Service

MakeJob = Callable[..., str]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service under test."""
    service = Service(tmp_path_factory.mktemp("service"))
    yield service
    service.stop()


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[Haulier]:
    """A client with all rights."""
    with service.client() as client:
        yield client


@pytest.fixture
def proxy(service: Service) -> Iterator[FlakyProxy]:
    """A proxy before the service that can be told to fail."""
    with FlakyProxy(service.url) as proxy:
        yield proxy


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def make_job(client: Haulier) -> MakeJob:
    """Registers a job on the simulated engine whose script is these words; says its name."""

    def make(*words: str, name: str | None = None, **spec: Any) -> str:
        name = name or f"job-{next(_numbers)}"
        client.jobs.apply({"name": name, "image": "sim/ok", "args": list(words), **spec})
        return name

    return make


@pytest.fixture
def proxy_of_another_kind() -> Iterator[str]:
    """The address of a web server that is not Haulier."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.RequestHandlerClass = Greeter
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Greeter(BaseHTTPRequestHandler):
    """Answers everything with a page."""

    def do_GET(self) -> None:
        """Says hello."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>hello</h1>")

    def log_message(self, *_: object) -> None:
        """Says nothing."""
