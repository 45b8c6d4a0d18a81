"""The real binary as a service of the tests' own, on a free port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
from waiting import PATIENCE, eventually

REPOSITORY = Path(__file__).resolve().parents[3]
TOKEN = "for-tests-only-0123456789"
"""Of who may do everything there."""


def binary() -> Path:
    """The binary under test."""
    path = Path(os.environ.get("HAULIER_BIN", REPOSITORY / "target" / "debug" / "haulier")).resolve()
    assert path.is_file(), f"{path} is missing: run `cargo build --all-features`, or set HAULIER_BIN"
    return path


def clean_environment() -> dict[str, str]:
    """The environment without what may be meant for other services, scripts and orchestrators."""
    foreign = ("HAULIER_", "AIRFLOW", "AZURE_", "AWS_", "LOG_LEVEL", "PYTHONUNBUFFERED")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def simulated_engine() -> str:
    """A configuration whose jobs run on a simulated engine, if they do not ask for another."""
    return 'default_engine = "sim"\n[engines.sim]\nkind = "simulated"\n'


def docker_engine() -> str:
    """A configuration with the tests' Docker as the engine `docker`; empty where there is none."""
    host = os.environ.get("HAULIER_TEST_DOCKER_HOST")
    return f'[engines.docker]\nkind = "docker"\nhost = "{host}"\n' if host else ""


class Served:
    """A running service. It keeps its port and data when it is stopped and started again."""

    def __init__(self, directory: Path, config: str) -> None:
        """Starts it with that configuration, in TOML, and with its data in that directory."""
        self._directory = directory
        self._log = directory / "service.log"
        self._listen = "127.0.0.1:0"
        (directory / "config.toml").write_text(config)
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        begin = self._log.stat().st_size if self._log.exists() else 0
        settings = {"HAULIER_ADMIN_TOKEN": TOKEN, "HAULIER_CONFIG": str(self._directory / "config.toml")}
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [binary(), "serve", "--listen", self._listen, "--data-dir", self._directory / "data"],
                env=clean_environment() | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def listening() -> re.Match[str] | None:
            assert self._process.poll() is None, f"the service has ended: {self._log.read_text()}"
            return re.search(r"listening on http://([0-9.:]+)", self._log.read_text()[begin:])

        self._listen = eventually(listening, what="the service")[1]
        self.url = f"http://{self._listen}"
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"authorization": f"Bearer {TOKEN}"},
            timeout=PATIENCE,
            trust_env=False,
        )

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """Ends it."""
        self._http.close()
        self._process.send_signal(sign)
        self._process.wait(60)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Asks the API as admin; the answer's JSON."""
        answer = self._http.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def register(self, job: str, *words: str, **spec: Any) -> str:
        """Registers a job on the simulated engine whose script is these words; says its name."""
        self.ask("PUT", f"/jobs/{job}", {"name": job, "image": "sim/ok", "args": list(words), **spec})
        return job

    def environment(self) -> dict[str, str]:
        """An environment in which clients find it."""
        return clean_environment() | {"HAULIER_URL": self.url, "HAULIER_TOKEN": TOKEN}
