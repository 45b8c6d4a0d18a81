"""Types of the whole package and of these tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "sdk" / "python"
SHARED = HERE.parent / "support" / "python"


def test_types() -> None:
    # One of them is for another environment.
    elsewhere = HERE / "support" / "data_factory.py"
    paths = sorted({*HERE.rglob("*.py")} - {elsewhere})
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "src", *map(str, paths)],
        cwd=PACKAGE,
        env={**os.environ, "MYPYPATH": os.pathsep.join([str(PACKAGE / "src"), str(SHARED)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout
