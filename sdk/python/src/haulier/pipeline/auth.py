"""How a source knows who asks. Nothing here prints a secret."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from typing import Literal

import httpx

from .errors import SourceRefused
from .http import refusal, take_temporary

_LEEWAY = 30.0
"""A token is renewed this long before it ends, in seconds, or in the last tenth of its life if that is shorter."""


class Bearer(httpx.Auth):
    """A token in the header `Authorization: Bearer`."""

    def __init__(self, token: str) -> None:
        """The token, as `run.secret` gives it."""
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds the header."""
        request.headers["authorization"] = self._header
        yield request


class Basic(httpx.BasicAuth):
    """User and password."""


class ApiKey(httpx.Auth):
    """A key in a header or in the query."""

    def __init__(self, key: str, *, header: str | None = None, query: str | None = None) -> None:
        """The key goes into the header or the query parameter of that name; without one, into `X-Api-Key`."""
        self._key = key
        self._query = query
        self._header = header or (None if query else "X-Api-Key")

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds the key."""
        if self._header:
            request.headers[self._header] = self._key
        if self._query:
            request.url = request.url.copy_set_param(self._query, self._key)
        yield request


class OAuth2(httpx.Auth):
    """OAuth 2 without a person: client credentials, or a refresh token where there is one.

    Fetches a token when it is needed, and a new one before it ends or when the source refuses it. A refresh token that
    the server replaces is replaced for the rest of this run; it is not kept for the next.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str | None = None,
        *,
        scope: str | None = None,
        refresh_token: str | None = None,
        extra: Mapping[str, str] | None = None,
        credentials_in: Literal["body", "header"] = "body",
    ) -> None:
        """Asks nobody yet.

        Args:
            token_url: where tokens are given out.
            extra: further fields of the token request, like `{"audience": "…"}`.
            credentials_in: where the server wants client id and secret: in the form, or as Basic authentication.
        """
        self._token_url = token_url
        self._client = (client_id, client_secret)
        self._refresh_token = refresh_token
        self._credentials_in = credentials_in
        self._extra = {**({"scope": scope} if scope else {}), **(extra or {})}
        self._lock = threading.Lock()
        self._token: str | None = None
        self._ends = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Puts a token into the request that lives, and another when that is refused."""
        for is_last in (False, True):
            token = yield from self._valid_token()
            request.headers["authorization"] = f"Bearer {token}"
            response = yield request
            if is_last or response.status_code != httpx.codes.UNAUTHORIZED:
                return
            with self._lock:
                # Another thread may have fetched a new one meanwhile.
                if self._token == token:
                    self._token = None

    def _valid_token(self) -> Generator[httpx.Request, httpx.Response, str]:
        with self._lock:
            if self._token is None or time.monotonic() >= self._ends:
                response = yield self._token_request()
                response.read()
                self._take(response)
            assert self._token is not None  # noqa: S101 - for the type checker
            return self._token

    def _token_request(self) -> httpx.Request:
        client_id, client_secret = self._client
        form = dict(self._extra)
        if self._refresh_token:
            form |= {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        else:
            form |= {"grant_type": "client_credentials"}
        headers = {"accept": "application/json"}
        if self._credentials_in == "header":
            login = next(httpx.BasicAuth(client_id, client_secret or "").auth_flow(httpx.Request("POST", "http://x")))
            headers["authorization"] = login.headers["authorization"]
        else:
            form["client_id"] = client_id
            if client_secret:
                form["client_secret"] = client_secret
        return httpx.Request("POST", self._token_url, data=form, headers=headers)

    def _take(self, response: httpx.Response) -> None:
        take_temporary(response)
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not response.is_success or not isinstance(token, str):
            raise SourceRefused(
                f"no token from {refusal(response)}: check client id, secret, scope and token URL", code="auth_failed"
            )
        lifetime = float(answer.get("expires_in") or 300)
        self._token = token
        self._ends = time.monotonic() + lifetime - min(_LEEWAY, lifetime / 10)
        self._refresh_token = answer.get("refresh_token") or self._refresh_token
