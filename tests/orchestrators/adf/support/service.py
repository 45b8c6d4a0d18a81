"""A service for Data Factory, with a simulated engine and Docker if there is one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from served import Served, docker_engine, simulated_engine
from waiting import eventually

_numbers = itertools.count(1)


class Service(Served):
    """A running service, and what an operator asks of it."""

    def __init__(self, directory: Path, trusted: str) -> None:
        """Starts it, with its data in that directory, and with these settings of who is trusted."""
        # Callbacks go to the tests themselves.
        callbacks = '[callbacks]\nallow = ["127.0.0.1/32"]\n'
        super().__init__(directory, simulated_engine() + docker_engine() + callbacks + trusted)

    def make_job(self, *words: str, **spec: Any) -> str:
        """Registers a job on the simulated engine whose script is these words; says its name."""
        return self.register(f"job-{next(_numbers)}", *words, **spec)

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
        return eventually(look, what=f"{' or '.join(states)} of a run of {job}")
