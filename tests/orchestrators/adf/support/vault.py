"""Key Vault, as far as a Web activity with a managed identity sees it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from .servers import Answer, HttpServer, Request

RESOURCE = "https://vault.azure.net"
"""What a token of the managed identity must be for."""


def identity_token(resource: str) -> str:
    """The managed identity's token for a resource."""
    return f"identity-for-{resource}"


class KeyVault(HttpServer):
    """Gives its secrets to the managed identity, and to nobody else."""

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self.secrets: dict[str, str] = {}

    def answer(self, request: Request) -> Answer:
        """GET of a secret, in the form of api-version 7.0."""
        address = urlsplit(request.path)
        if request.headers.get("authorization") != f"Bearer {identity_token(RESOURCE)}":
            return _error(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
        if parse_qs(address.query).get("api-version") != ["7.0"]:
            return _error(400, "BadParameter", "The specified version is not recognized.")
        name = address.path.removeprefix("/secrets/").rstrip("/")
        if request.method != "GET" or name not in self.secrets:
            return _error(404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault.")
        return Answer.json(200, {"value": self.secrets[name], "id": f"{self.url}/secrets/{name}/1", "attributes": {}})


def _error(status: int, code: str, message: str) -> Answer:
    return Answer.json(status, {"error": {"code": code, "message": message}})
