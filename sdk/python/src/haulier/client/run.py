"""What is known of a run: the part of `Run` and `AsyncRun` that asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import RunFailed
from .models import RunError, RunView


class KnownRun:
    """A run as it was when the service was last asked."""

    def __init__(self, view: RunView) -> None:
        """Wraps what the service said."""
        self._view = view

    @property
    def view(self) -> RunView:
        """Everything that the service said of it."""
        return self._view

    @property
    def id(self) -> str:
        """Its id."""
        return self._view.id

    @property
    def job(self) -> str:
        """The job's name."""
        return self._view.job

    @property
    def state(self) -> str:
        """`queued`, `starting`, `running`, `cancelling`, `succeeded`, `failed`, `cancelled` or `timed_out`."""
        return self._view.state

    @property
    def finished(self) -> bool:
        """Whether it never changes again."""
        return self._view.finished

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self._view.state == "succeeded"

    @property
    def output(self) -> Any:
        """What the script reported as its output; None when nothing."""
        return self._view.output

    @property
    def metrics(self) -> Mapping[str, float]:
        """What the script reported as metrics."""
        return self._view.metrics

    @property
    def exit_code(self) -> int | None:
        """The container's exit code, if there was one."""
        return self._view.exit_code

    @property
    def error(self) -> RunError | None:
        """Why it did not succeed."""
        return self._view.error

    def check(self) -> None:
        """Raises `RunFailed` if it ended in another way than `succeeded`."""
        if self.finished and not self.succeeded:
            raise RunFailed(self._view)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, job={self.job!r}, state={self.state!r})"
