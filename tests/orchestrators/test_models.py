"""The models are what the OpenAPI document makes."""

from __future__ import annotations

import subprocess
import sys

from served import REPOSITORY


def test_the_models_are_current() -> None:
    script = REPOSITORY / "sdk" / "python" / "scripts" / "generate_models.py"
    subprocess.run([sys.executable, script, "--check"], check=True)
