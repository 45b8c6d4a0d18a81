"""A service of the tests' own: the real binary, on a free port, with a simulated engine and Docker if there is one."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx

from .waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[4]
ADMIN = "for-tests-only-0123456789"

_numbers = itertools.count(1)


def binary() -> Path:
    """The binary under test."""
    path = Path(os.environ.get("HAULIER_BIN", REPOSITORY / "target" / "debug" / "haulier")).resolve()
    assert path.is_file(), f"{path} is missing: run `cargo build --all-features`, or set HAULIER_BIN"
    return path


class Service:
    """A running service, and what an operator asks of it."""

    def __init__(self, directory: Path) -> None:
        """Starts it, with its data in that directory."""
        docker = os.environ.get("HAULIER_TEST_DOCKER_HOST")
        # Callbacks go to the tests themselves.
        config = '[callbacks]\nallow = ["127.0.0.1/32"]\n[engines.sim]\nkind = "simulated"\n'
        if docker:
            config += f'[engines.docker]\nkind = "docker"\nhost = "{docker}"\n'
        (directory / "config.toml").write_text(f'default_engine = "sim"\n{config}')
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HAULIER_")}
        settings = {"HAULIER_ADMIN_TOKEN": ADMIN, "HAULIER_CONFIG": str(directory / "config.toml")}
        self._log = directory / "service.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [binary(), "serve", "--listen", "127.0.0.1:0", "--data-dir", directory / "data"],
                env=inherited | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.url = eventually(self._address, "the service")
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"authorization": f"Bearer {ADMIN}"}, timeout=60, trust_env=False
        )

    def _address(self) -> str | None:
        assert self._process.poll() is None, f"the service has ended: {self._log.read_text()}"
        found = re.search(r"listening on (http://[0-9.:]+)", self._log.read_text())
        return found and found[1]

    def stop(self) -> None:
        """Ends it."""
        self._http.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Asks the API as admin."""
        answer = self._http.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def make_job(self, *words: str, **spec: Any) -> str:
        """Registers a job on the simulated engine whose script is these words; says its name."""
        name = f"job-{next(_numbers)}"
        self.ask("PUT", f"/jobs/{name}", {"name": name, "image": "sim/ok", "args": list(words), **spec})
        return name

    def make_token(self, job: str) -> str:
        """A token that may trigger this job and nothing else."""
        request = {"name": f"adf-{next(_numbers)}", "scopes": ["trigger"], "jobs": [job]}
        secret: str = self.ask("POST", "/tokens", request)["secret"]
        return secret

    def runs(self, job: str) -> list[dict[str, Any]]:
        """All runs of a job, the newest first."""
        items: list[dict[str, Any]] = self.ask("GET", f"/runs?job={job}")["items"]
        return items

    def run(self, job: str) -> dict[str, Any]:
        """The only run of a job."""
        (run,) = self.runs(job)
        return run

    def await_state(self, job: str, *states: str) -> dict[str, Any]:
        """The only run of a job, once it is in one of these states."""
        look = lambda: next((run for run in self.runs(job) if run["state"] in states), None)  # noqa: E731
        return eventually(look, f"{' or '.join(states)} of a run of {job}")
