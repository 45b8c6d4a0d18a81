"""Where the service is and who asks: from arguments, else from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from .errors import SettingsError

URL_VARIABLE = "HAULIER_URL"
TOKEN_VARIABLE = "HAULIER_TOKEN"  # noqa: S105 - the variable's name
PROJECT_VARIABLE = "HAULIER_PROJECT"


@dataclass(frozen=True)
class Settings:
    """What a client needs to know. Does not print the token."""

    url: str
    """The service's address without a slash at its end, like `https://haulier.example.com`."""
    token: SecretStr
    project: str | None = None
    """The token's own project when None."""
    timeout: float = 30.0
    """How long one answer may take beyond what the request asked to wait, in seconds."""
    patience: float = 120.0
    """How long requests that fail on the way are repeated, in seconds; 0 = not at all."""

    @classmethod
    def read(
        cls,
        url: str | None = None,
        token: str | None = None,
        project: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 120.0,
    ) -> Settings:
        """Arguments win over `HAULIER_URL`, `HAULIER_TOKEN` and `HAULIER_PROJECT`.

        Raises:
            SettingsError: there is no address or token, or they cannot be used.
        """
        url = (url or os.environ.get(URL_VARIABLE, "")).strip().rstrip("/")
        token = (token or os.environ.get(TOKEN_VARIABLE, "")).strip()
        project = project or os.environ.get(PROJECT_VARIABLE) or None
        if not url:
            raise SettingsError(f"there is no address: set {URL_VARIABLE}, like http://127.0.0.1:8080")
        if not token:
            raise SettingsError(f"there is no token: set {TOKEN_VARIABLE}; `haulier token create` makes one")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise SettingsError(f"the token has characters that no token has: check {TOKEN_VARIABLE}")
        parts = urlsplit(url)
        # What was given is not shown: people do put passwords there.
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"the address cannot be used: write {URL_VARIABLE} like http://127.0.0.1:8080")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise SettingsError(f"the address holds more than host and port: put the token into {TOKEN_VARIABLE}")
        return cls(url, SecretStr(token), project, timeout, patience)
