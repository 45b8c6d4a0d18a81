"""Microsoft Entra, as far as a factory's managed identity and a service that trusts it see it."""

from __future__ import annotations

import time

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from .servers import Answer, HttpServer, Request
from .vault import RESOURCE as KEY_VAULT
from .vault import identity_token

AUDIENCE = "api://the-service"
"""What the service under test is called there."""
FACTORY = "9b1c1b0e-0000-4000-8000-00000000feed"
"""The object id of the factory's managed identity."""


class Entra(HttpServer):
    """Signs tokens for the identity, and publishes its key."""

    def __init__(self) -> None:
        """With a new key."""
        super().__init__()
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def answer(self, request: Request) -> Answer:
        """The discovery document and the key."""
        if request.path == "/.well-known/openid-configuration":
            return Answer.json(
                200,
                {
                    "issuer": self.url,
                    "authorization_endpoint": f"{self.url}/authorize",
                    "jwks_uri": f"{self.url}/keys",
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["pairwise"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                },
            )
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return Answer.json(200, {"keys": [{**key, "kid": "1", "use": "sig"}]})

    def token(self, resource: str) -> str:
        """What the identity gets for a resource. Claims as in version 1.0 of Entra's access tokens."""
        if resource == KEY_VAULT:
            return identity_token(resource)
        now = int(time.time())
        claims = {"aud": resource, "iss": self.url, "iat": now, "nbf": now, "exp": now + 3600, "ver": "1.0"}
        claims |= {"appid": "5d3e1e6a-0000-4000-8000-0000000000aa", "idtyp": "app", "oid": FACTORY, "sub": FACTORY}
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "1", "x5t": "1"})

    def trusted(self) -> str:
        """Settings of a service that lets the factory run jobs."""
        return (
            f'[[issuers]]\nissuer = "{self.url}"\naudiences = ["{AUDIENCE}"]\n'
            f'[[issuers.grants]]\nclaim = "oid"\nvalue = "{FACTORY}"\nproject = "default"\nscopes = ["trigger"]\n'
        )
