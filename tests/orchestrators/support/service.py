"""A service for the orchestrators, with a simulated engine and Docker if there is one."""

from __future__ import annotations

import uuid
from pathlib import Path

from haulier import Haulier
from served import TOKEN, Served, docker_engine, simulated_engine


class Service(Served):
    """A running service, and who asks it."""

    def __init__(self, directory: Path) -> None:
        """Starts it, with its data in that directory."""
        docker = docker_engine()
        self.has_docker = bool(docker)
        super().__init__(directory, simulated_engine() + docker)

    def client(self, *, patience: float = 120.0) -> Haulier:
        """A client with all rights."""
        return Haulier(self.url, TOKEN, patience=patience)

    def trigger_token(self) -> str:
        """A new token that may start, see and cancel runs, and nothing else."""
        body = {"name": f"trigger-{uuid.uuid4().hex[:12]}", "scopes": ["trigger"]}
        secret: str = self.ask("POST", "/tokens", body)["secret"]
        return secret
