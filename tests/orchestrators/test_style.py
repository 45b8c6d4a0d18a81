"""Format, lints and types of everything that is Python here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from served import REPOSITORY

FOLDERS = ["sdk", "templates", "tests/orchestrators", "tests/python", "tests/support", "tests/web"]
SHARED = REPOSITORY / "tests" / "support" / "python"


def check(*command: str) -> None:
    ended = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lints", "format"])
def test_ruff(command: list[str]) -> None:
    check(sys.executable, "-m", "ruff", *command, "--no-cache", *FOLDERS)


def mypy(package: str, *arguments: str | Path) -> None:
    # What is being tested, not what happens to be installed.
    packages = (REPOSITORY / "sdk" / name / "src" for name in ("python", "airflow", "dagster"))
    sources = os.pathsep.join(map(str, (*packages, SHARED)))
    command = [sys.executable, "-m", "mypy", "--cache-dir", os.devnull, *arguments]
    ended = subprocess.run(
        command,
        cwd=REPOSITORY / package,
        env={**os.environ, "MYPYPATH": sources},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout


def test_the_types_of_the_client_and_the_tests() -> None:
    here = REPOSITORY / "tests" / "orchestrators"
    # The pipeline's types are checked where its packages are: in tests/python.
    mypy(
        "sdk/python",
        "--exclude",
        "/pipeline/",
        "src",
        "scripts",
        here / "support",
        *here.glob("*.py"),
        *SHARED.glob("*.py"),
    )


@pytest.mark.parametrize(
    ("package", "environment", "users"), [("airflow", "airflow-3", "dags"), ("dagster", "dagster", "pipelines")]
)
def test_the_types_of_what_orchestrators_load(package: str, environment: str, users: str) -> None:
    python = Path(os.environ["HAULIER_TEST_ENVIRONMENTS"], environment, "bin", "python")
    mypy(f"sdk/{package}", "--python-executable", python, "src", REPOSITORY / "tests" / "orchestrators" / users)
