"""Real containers, and a service that dies while a client waits."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from waiting import eventually

from support.service import Service

IMAGE = os.environ.get("HAULIER_TEST_IMAGE")

pytestmark = pytest.mark.skipif(
    IMAGE is None or "HAULIER_TEST_DOCKER_HOST" not in os.environ,
    reason="there is no Docker: run tests/orchestrators/run, which starts it",
)


def test_a_client_outlives_the_service(tmp_path: Path) -> None:
    service = Service(tmp_path)
    script = 'for n in 1 2 3 4 5 6; do echo "line $n"; sleep 1; done; exit 4'
    spec = {
        "name": "job",
        "image": IMAGE,
        "command": ["sh", "-c", script],
        "engine": "docker",
    }
    try:
        with service.client() as client, ThreadPoolExecutor() as threads:
            client.jobs.apply(spec)
            run = client.trigger("job")
            lines = threads.submit(lambda: [line.text for line in run.logs()])
            end = threads.submit(lambda: client.runs.get(run.id).wait(check=False))
            eventually(lambda: client.runs.get(run.id).state == "running", what="the container")
            service.stop(signal.SIGKILL)
            service.start()
            assert end.result(timeout=60).exit_code == 4
            assert lines.result(timeout=60) == [f"line {n}" for n in range(1, 7)]
            assert len(list(client.runs.list(job="job"))) == 1
    finally:
        service.stop()
