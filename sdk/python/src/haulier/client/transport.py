"""HTTP through httpx: the two steps of an operation, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from .errors import Unreachable
from .settings import Settings
from .wire import PROJECT_HEADER, Answer, Done, Operation, Pause, Reply, Request, T, advance

CONNECT_TIMEOUT = 5.0
"""How long reaching the service may take, in seconds."""


class _Bearer(httpx.Auth):
    """Puts the token into each request, and nowhere else."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["authorization"] = f"Bearer {self._settings.token.get_secret_value()}"
        yield request


class _Transport:
    """What both ways have in common."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def _options(self) -> dict[str, Any]:
        headers = {"user-agent": f"haulier-python/{_version()}"}
        if self._settings.project:
            headers[PROJECT_HEADER] = self._settings.project
        return {"base_url": self._settings.url, "headers": headers, "auth": _Bearer(self._settings)}

    def _arguments(self, request: Request) -> dict[str, Any]:
        headers = dict(request.headers)
        if request.body is not None:
            headers["content-type"] = "application/json"
        patience = self._settings.timeout + request.waits
        timeout = httpx.Timeout(patience, connect=min(CONNECT_TIMEOUT, patience))
        return {
            "method": request.method,
            "url": request.path,
            "params": dict(request.query),
            "content": request.body,
            "headers": headers,
            "timeout": timeout,
        }

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        return Unreachable(self._settings.url, str(error) or type(error).__name__)


class Transport(_Transport):
    """Performs operations and blocks meanwhile. May be shared by threads."""

    def __init__(self, settings: Settings) -> None:
        """Opens nothing yet."""
        super().__init__(settings)
        self._http = httpx.Client(**self._options())

    def run(self, operation: Operation[T]) -> T:
        """The operation's result."""
        reply: Reply = None
        while True:
            step = advance(operation, reply)
            if isinstance(step, Done):
                return step.result
            reply = self._perform(step)

    def _perform(self, step: Request | Pause) -> Reply:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return _answer(self._http.request(**self._arguments(step)))
        except httpx.HTTPError as error:
            return self._unreachable(error)

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()


class AsyncTransport(_Transport):
    """Performs operations on an event loop."""

    def __init__(self, settings: Settings) -> None:
        """Opens nothing yet."""
        super().__init__(settings)
        self._http = httpx.AsyncClient(**self._options())

    async def run(self, operation: Operation[T]) -> T:
        """The operation's result."""
        reply: Reply = None
        while True:
            step = advance(operation, reply)
            if isinstance(step, Done):
                return step.result
            reply = await self._perform(step)

    async def _perform(self, step: Request | Pause) -> Reply:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return _answer(await self._http.request(**self._arguments(step)))
        except httpx.HTTPError as error:
            return self._unreachable(error)

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()


def _answer(response: httpx.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content)


def _version() -> str:
    try:
        return version("haulier")
    except PackageNotFoundError:
        return "unknown"
