"""A script as Haulier runs it: what it is given, what it tells, and what is kept of that."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from served import clean_environment

NONCE = "n0nce"
PATIENCE = 120.0


@dataclass
class Ended:
    """How one attempt ended."""

    code: int
    reports: list[dict[str, Any]]
    out: str
    """What it printed beside reports."""
    err: str

    def last(self, key: str) -> Any:
        """The last report of a key; None when there is none."""
        told = [report[key] for report in self.reports if key in report]
        return told[-1] if told else None


@dataclass
class Job:
    """A job whose image is a Python script. Keeps its state as Haulier does: from runs that succeed."""

    script: str
    directory: Path
    env: dict[str, str] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    slices: int = 0

    def attempt(
        self,
        run_id: str | None = None,
        slice: int = 1,  # noqa: A002 - what it is called
        attempt: int = 1,
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        """One attempt. The state is kept if it succeeds."""
        path = self.directory / "main.py"
        path.write_text(self.script)
        given = {
            "HAULIER_RUN_ID": run_id or str(uuid.uuid4()),
            "HAULIER_JOB": "job",
            "HAULIER_ATTEMPT": str(attempt),
            "HAULIER_SLICE": str(slice),
            "HAULIER_PARAMETERS": "{}",
            "HAULIER_STATE": json.dumps(self.state),
            "HAULIER_REPORT": NONCE,
        }
        done = subprocess.run(
            [sys.executable, path],
            env={**clean_environment(), **given, **self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        ended = read(done)
        if ended.code == 0 and ended.last("error") is None and ended.last("state") is not None:
            self.state = ended.last("state")
        return ended

    def run(self, env: Mapping[str, str] | None = None) -> Ended:
        """One run with all its slices, each of which must succeed; how the last one ended."""
        run_id = str(uuid.uuid4())
        for number in range(1, 100):
            ended = self.attempt(run_id, number, env=env)
            assert ended.code == 0, ended.err
            self.slices = number
            if ended.last("outcome") != "continue":
                return ended
        raise AssertionError("it wants to be continued for ever")


def read(done: subprocess.CompletedProcess[str]) -> Ended:
    """What a process said, with its reports taken out."""
    prefix = f"::haulier:{NONCE}:"
    lines = done.stdout.splitlines(keepends=True)
    reports = [json.loads(line[len(prefix) :]) for line in lines if line.startswith(prefix)]
    out = "".join(line for line in lines if not line.startswith(prefix))
    return Ended(done.returncode, reports, out, done.stderr)
