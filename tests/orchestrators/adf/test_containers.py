"""Real containers, and documents as large as they may be."""

from __future__ import annotations

import os
from typing import Any

import pytest

from adf.conftest import Azure
from adf.support.service import Service
from adf.support.templates import STYLES

IMAGE = os.environ.get("HAULIER_TEST_IMAGE")
LARGEST = 255 * 1024
"""Just below what parameters and output may have, in bytes."""

each_style = pytest.mark.parametrize("style", STYLES)
with_docker = pytest.mark.skipif(
    IMAGE is None or "HAULIER_TEST_DOCKER_HOST" not in os.environ,
    reason="there is no Docker: run tests/orchestrators/adf/run, which starts it",
)


def container(script: str) -> dict[str, Any]:
    """A job that runs a shell script in a real container."""
    return {"image": IMAGE, "command": ["sh", "-c", script], "args": [], "engine": "docker"}


@with_docker
@each_style
def test_a_container_gets_its_parameters_and_its_output_comes_back(style: str, azure: Azure, service: Service) -> None:
    script = 'echo "::haulier:$HAULIER_REPORT:{\\"output\\": {\\"got\\": $HAULIER_PARAMETERS}}"'
    run = azure.run(style, service.make_job(**container(script)), jobParameters={"day": "2026-01-31"})
    assert run.return_value is not None, run.failure
    assert run.return_value["output"] == {"got": {"day": "2026-01-31"}}


@with_docker
@each_style
def test_a_containers_exit_code_comes_back(style: str, azure: Azure, service: Service) -> None:
    run = azure.run(style, service.make_job(**container("exit 7")))
    assert run.failure is not None
    assert run.failure["errorCode"] == "exit_code"
    assert "7" in run.failure["message"]


@with_docker
@each_style
def test_the_largest_output_comes_back(style: str, azure: Azure, service: Service) -> None:
    output = f'"$(head -c {LARGEST} /dev/zero | tr "\\0" o)"'
    script = f"""printf '::haulier:%s:{{"output": "%s"}}\\n' "$HAULIER_REPORT" {output}"""
    run = azure.run(style, service.make_job(**container(script)))
    assert run.return_value is not None, run.failure
    assert run.return_value["output"] == "o" * LARGEST


@each_style
def test_the_largest_parameters_pass(style: str, azure: Azure, service: Service) -> None:
    job = service.make_job()
    run = azure.run(style, job, jobParameters={"text": "p" * LARGEST})
    assert run.status == "Succeeded", run.failure
    assert service.ask("GET", f"/runs/{service.run(job)['id']}")["parameters"] == {"text": "p" * LARGEST}


def test_an_active_run_has_every_field_that_templates_read(azure: Azure, service: Service) -> None:
    job = service.make_job("forever")
    run = service.ask("POST", f"/jobs/{job}/runs", {})
    read = {"id", "finished", "state", "output", "error"}
    for answer in (run, service.ask("GET", f"/runs/{run['id']}"), service.run(job)):
        assert read <= answer.keys()
    assert run["output"] is None
    assert run["error"] is None
