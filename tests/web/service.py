"""A service to browse, with a simulated engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from served import Served, simulated_engine
from waiting import eventually


class Service(Served):
    """A running service, and runs for its pages."""

    def __init__(self, directory: Path) -> None:
        """Starts it, with its data in that directory."""
        super().__init__(directory, simulated_engine())

    def trigger(self, job: str, **request: Any) -> str:
        """Triggers a run; its id."""
        run: str = self.ask("POST", f"/jobs/{job}/runs", request)["id"]
        return run

    def run(self, run: str) -> dict[str, Any]:
        """A run as it is now."""
        found: dict[str, Any] = self.ask("GET", f"/runs/{run}")
        return found

    def until(self, run: str, *states: str) -> dict[str, Any]:
        """A run, once it is in one of these states."""

        def look() -> dict[str, Any] | None:
            found = self.run(run)
            if found["state"] in states:
                return found
            assert not found["finished"], found
            return None

        return eventually(look, what=" or ".join(states))

    def outcome(self, job: str, **request: Any) -> str:
        """Triggers a run and waits for its end; its id."""
        run = self.trigger(job, **request)
        eventually(lambda: self.ask("GET", f"/runs/{run}?wait=55")["finished"], what="the end")
        return run
