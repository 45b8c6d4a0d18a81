"""A service of the tests' own: the real binary, on a free port, with a simulated engine."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "for-tests-only-0123456789"
PATIENCE = 60.0
"""Whatever is waited for must come within this time, in seconds, also on a busy machine."""

LIVE = ("queued", "starting", "running", "cancelling")


class Service:
    """A running service."""

    def __init__(self, directory: Path) -> None:
        """Starts it, with its data in that directory, and waits until it answers."""
        program = Path(os.environ.get("HAULIER_BIN", REPOSITORY / "target" / "debug" / "haulier")).resolve()
        assert program.is_file(), f"{program} is missing: run `cargo build --all-features`, or set HAULIER_BIN"
        (directory / "config.toml").write_text('default_engine = "sim"\n[engines.sim]\nkind = "simulated"\n')
        log = directory / "service.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HAULIER_")}
        settings = {"HAULIER_ADMIN_TOKEN": TOKEN, "HAULIER_CONFIG": str(directory / "config.toml")}
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [program, "serve", "--listen", "127.0.0.1:0", "--data-dir", directory / "data"],
                env={**kept, **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"listening on http://([0-9.:]+)", log.read_text())):
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        self.url = f"http://{found[1]}"
        self._http = httpx.Client(base_url=f"{self.url}/api/v1", headers={"authorization": f"Bearer {TOKEN}"})

    def stop(self) -> None:
        """Ends it."""
        self._http.close()
        self._process.terminate()
        self._process.wait(60)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Asks the API; the answer's JSON."""
        answer = self._http.request(method, path, json=body, timeout=PATIENCE)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None

    def job(self, name: str, *words: str, **spec: Any) -> str:
        """Registers a job on the simulated engine whose script is these words; says its name."""
        self.call("PUT", f"/jobs/{name}", {"name": name, "image": "sim/ok", "args": list(words), **spec})
        return name

    def trigger(self, job: str, **request: Any) -> str:
        """Triggers a run; its id."""
        run: str = self.call("POST", f"/jobs/{job}/runs", request)["id"]
        return run

    def run(self, run: str) -> dict[str, Any]:
        """A run as it is now."""
        found: dict[str, Any] = self.call("GET", f"/runs/{run}")
        return found

    def until(self, run: str, *states: str) -> dict[str, Any]:
        """A run, once it is in one of these states."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.run(run))["state"] not in states:
            assert not found["finished"], found
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found

    def outcome(self, job: str, **request: Any) -> str:
        """Triggers a run and waits for its end; its id."""
        run = self.trigger(job, **request)
        while not self.call("GET", f"/runs/{run}?wait=55")["finished"]:
            pass
        return run
