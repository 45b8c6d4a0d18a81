"""A service of the tests' own: the real binary, on a free port, with a simulated engine and Docker if there is one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import uuid
from pathlib import Path

import httpx
from haulier import Haulier

from .waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[3]
TOKEN = "for-tests-only-0123456789"


def binary() -> Path:
    """The binary under test."""
    path = Path(os.environ.get("HAULIER_BIN", REPOSITORY / "target" / "debug" / "haulier")).resolve()
    assert path.is_file(), f"{path} is missing: run `cargo build --all-features`, or set HAULIER_BIN"
    return path


def clean_environment() -> dict[str, str]:
    """The environment without what may be meant for another service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HAULIER_", "AIRFLOW"))}


class Service:
    """A running service. It keeps its port and data when it is stopped and started again."""

    def __init__(self, directory: Path) -> None:
        """Starts it, with its data in that directory."""
        self._directory = directory
        self._log = directory / "service.log"
        self._listen = "127.0.0.1:0"
        docker = os.environ.get("HAULIER_TEST_DOCKER_HOST")
        self.has_docker = docker is not None
        config = 'default_engine = "sim"\n[engines.sim]\nkind = "simulated"\n'
        if docker:
            config += f'[engines.docker]\nkind = "docker"\nhost = "{docker}"\n'
        (directory / "config.toml").write_text(config)
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    binary(),
                    "serve",
                    "--listen",
                    self._listen,
                    "--data-dir",
                    self._directory / "data",
                ],
                env={
                    **clean_environment(),
                    "HAULIER_ADMIN_TOKEN": TOKEN,
                    "HAULIER_CONFIG": str(self._directory / "config.toml"),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def listening() -> re.Match[str] | None:
            assert self._process.poll() is None, f"the service has ended: {self._log.read_text()}"
            return re.search(r"listening on http://([0-9.:]+)", self._log.read_text()[begin:])

        self._listen = eventually(listening, what="the service")[1]
        self.url = f"http://{self._listen}"

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """Ends it."""
        self._process.send_signal(sign)
        self._process.wait(60)

    def client(self, *, patience: float = 120.0) -> Haulier:
        """A client with all rights."""
        return Haulier(self.url, TOKEN, patience=patience)

    def trigger_token(self) -> str:
        """A new token that may start, see and cancel runs, and nothing else."""
        body = {"name": f"trigger-{uuid.uuid4().hex[:12]}", "scopes": ["trigger"]}
        answer = httpx.post(
            f"{self.url}/api/v1/tokens",
            json=body,
            headers={"authorization": f"Bearer {TOKEN}"},
        )
        assert answer.is_success, answer.text
        secret: str = answer.json()["secret"]
        return secret

    def environment(self) -> dict[str, str]:
        """An environment in which clients find it."""
        return {**clean_environment(), "HAULIER_URL": self.url, "HAULIER_TOKEN": TOKEN}
