"""Web and WebHook activities over real HTTP, by the rules of Data Factory."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from .expressions import Result
from .receiver import Receiver
from .vault import identity_token

LARGEST_ANSWER = 4 * 1024 * 1024
"""In bytes: what an activity's output may have."""
LARGEST_PAYLOAD = 896 * 1024
"""In bytes: what an activity's run may have, its request included."""
FIRST_ANSWER = 60.0
"""Within which a request must be answered, in seconds, when the activity does not say otherwise."""
LONGEST_REQUEST = 600.0
"""The most that `httpRequestTimeout` may be, in seconds."""


class ActivityFailedError(Exception):
    """An activity that fails, as Data Factory tells it."""

    def __init__(self, code: str, message: str) -> None:
        """With Data Factory's own code."""
        super().__init__(message)
        self.error = {"errorCode": code, "message": message, "failureType": "UserError"}


def seconds_of(text: str) -> float:
    """Reads `d.hh:mm:ss`."""
    found = re.fullmatch(r"(?:(\d+)\.)?(\d{2}):(\d{2}):(\d{2})", text)
    assert found, f"{text!r} is no time span: write d.hh:mm:ss"
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


class PipelineCancelledError(Exception):
    """Somebody has pressed Cancel: nothing more is run, and nobody is told."""


@dataclass
class Caller:
    """Makes the requests of activities."""

    http: httpx.Client
    receiver: Receiver
    identity: Callable[[str], str] = identity_token
    """The factory's managed identity: its token for a resource."""
    brings_token_along: bool = False
    """Whether `Authorization` is sent to a `Location`, too. Microsoft does not say."""
    nests_callback: bool = False
    """Whether a callback's `Output` is found under that name, or is the output. Microsoft does not say."""
    fails_loops: bool = False
    """Whether a loop fails when the last activity in it has failed. Microsoft does not say."""
    cancelled_after: str | None = None
    """Method and path of the request after whose answer the pipeline is cancelled: a regular expression."""

    def web(self, properties: dict[str, Any], deadline: float) -> Result:
        """A Web activity once, without its retries."""
        longest = seconds_of(properties["httpRequestTimeout"]) if "httpRequestTimeout" in properties else FIRST_ANSWER
        assert 60 <= longest <= LONGEST_REQUEST
        headers = self._headers(properties)
        answer = self._send(properties, properties.get("body"), headers, longest, deadline)
        if not properties.get("turnOffAsync", False):
            answer = self._follow(answer, headers, deadline)
        headers = {name: value for name, value in answer.headers.items() if name != "location"}
        return Result("Succeeded", {**self._object(answer), "ADFWebActivityResponseHeaders": headers})

    def web_hook(self, properties: dict[str, Any]) -> Result:
        """A WebHook activity. It has no retries."""
        deadline = time.monotonic() + seconds_of(properties.get("timeout", "00:10:00"))
        body = json.loads(properties["body"])
        assert isinstance(body, dict), "the body must be an object: callBackUri is added to it"
        address = self.receiver.address()
        text = json.dumps({**body, "callBackUri": address})
        answer = self._send(properties, text, self._headers(properties), FIRST_ANSWER, deadline)
        assert "location" not in answer.headers, "Data Factory would follow it besides waiting for the callback"
        told = self.receiver.wait(address, deadline - time.monotonic())
        if told is None:
            raise ActivityFailedError("BadRequest", "The WebHook activity timed out waiting for a callback.")
        assert properties.get("reportStatusOnCallBack") is True
        if int(told["StatusCode"]) >= 400:
            raise ActivityFailedError(told["Error"]["ErrorCode"], told["Error"]["Message"])
        assert "Error" not in told
        return Result("Succeeded", {"Output": told["Output"]} if self.nests_callback else told["Output"])

    def _headers(self, properties: dict[str, Any]) -> dict[str, str]:
        headers = dict(properties.get("headers", {}))
        if authentication := properties.get("authentication"):
            assert authentication["type"] == "MSI"
            headers["Authorization"] = f"Bearer {self.identity(authentication['resource'])}"
        return headers

    def _send(
        self, properties: dict[str, Any], body: str | None, headers: dict[str, str], longest: float, deadline: float
    ) -> httpx.Response:
        url, method = properties["url"], properties["method"]
        assert all(isinstance(value, str) for value in headers.values()), f"a header is no text: {headers}"
        if method in ("POST", "PUT"):
            assert isinstance(body, str), "these methods must have a body"
            assert len(body.encode()) <= LARGEST_PAYLOAD
        return self._request(method, url, body, headers, longest, deadline)

    def _request(
        self, method: str, url: str, body: str | None, headers: dict[str, str], longest: float, deadline: float
    ) -> httpx.Response:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ActivityFailedError("Timeout", "The activity was running longer than its timeout.")
        try:
            answer = self.http.request(method, url, content=body, headers=headers, timeout=min(longest, left))
        except httpx.HTTPError as error:
            raise ActivityFailedError("2108", f"Error calling the endpoint '{url}'. {error!r}") from error
        if self.cancelled_after and re.search(self.cancelled_after, f"{method} {answer.url.path}"):
            raise PipelineCancelledError
        if answer.status_code >= 300:
            raise ActivityFailedError(
                "2108",
                f"Error calling the endpoint '{url}'. Response status code: '{answer.status_code}'. "
                f"More details: {answer.text}",
            )
        return answer

    def _follow(self, answer: httpx.Response, headers: dict[str, str], deadline: float) -> httpx.Response:
        """Asks at `Location` while the answer is 202. How often, Microsoft does not say: the service sets the pace."""
        kept = {"Authorization": headers["Authorization"]} if self.brings_token_along else {}
        while answer.status_code == 202 and "location" in answer.headers:
            answer = self._request("GET", answer.headers["location"], None, kept, FIRST_ANSWER, deadline)
        return answer

    @staticmethod
    def _object(answer: httpx.Response) -> dict[str, Any]:
        """The answer's body, which must be a JSON object."""
        if len(answer.content) > LARGEST_ANSWER:
            raise ActivityFailedError("2001", "The length of execution output is over limit (around 4MB currently).")
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ActivityFailedError("2108", f"The response is not a JSON object: {answer.text[:200]}")
        return value
