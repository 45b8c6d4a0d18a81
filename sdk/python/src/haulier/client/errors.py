"""What can go wrong, as exceptions. Their texts are for people and never hold a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .models import FieldError, Problem

if TYPE_CHECKING:
    from .models import RunError, RunView


class HaulierError(Exception):
    """A request failed, or a run did."""

    code: str
    """A stable code for programs: the service's own, like `invalid_fields`, or the client's."""
    detail: str
    """What to do, for people."""
    status: int | None
    """The HTTP status, if the service answered."""
    errors: Sequence[FieldError]
    """What is wrong with which field of the request."""

    def __init__(self, code: str, detail: str, *, status: int | None = None, errors: Sequence[FieldError] = ()) -> None:
        """The detail, and what is wrong with each field, are the exception's text."""
        fields = "".join(f"\n  {error.pointer}: {error.detail}" for error in errors) if len(errors) > 1 else ""
        super().__init__(detail + fields)
        self.code = code
        self.detail = detail
        self.status = status
        self.errors = tuple(errors)

    def __reduce__(self) -> tuple[Any, ...]:
        """Exceptions cross processes in task runners: keep all fields."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[HaulierError], args: tuple[Any, ...], fields: dict[str, Any]) -> HaulierError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class RequestRefused(HaulierError):
    """The service refused the request: `code`, `detail` and `errors` say why."""

    def __init__(self, problem: Problem) -> None:
        """The exception that a problem of the service is."""
        super().__init__(problem.code, problem.detail, status=problem.status, errors=problem.errors or ())


class Unreachable(HaulierError):
    """The service could not be reached, or did not answer in time, for as long as the client was patient."""

    def __init__(self, url: str, reason: str) -> None:
        """The address that was tried, without anything secret, and why it failed."""
        super().__init__("unreachable", f"cannot reach the service at {url}: {reason}; is it running? see HAULIER_URL")


class NotHaulier(HaulierError):
    """What answered is not Haulier, or a version that this client does not understand."""

    def __init__(self, url: str, status: int) -> None:
        """The address and what it answered with."""
        detail = f"what answered at {url} is not Haulier, or another version of it (status {status}): see HAULIER_URL"
        super().__init__("not_haulier", detail, status=status)


class SettingsError(HaulierError, ValueError):
    """The address, the token or the project cannot be used."""

    def __init__(self, detail: str) -> None:
        """What to set."""
        super().__init__("settings", detail)


class WaitTimeout(HaulierError, TimeoutError):
    """The run had not ended when the time to wait was up. It goes on."""

    run_id: str

    def __init__(self, run_id: str, timeout: float) -> None:
        """The run, and how long it was waited for, in seconds."""
        super().__init__("wait_timeout", f"run {run_id} has not ended within {timeout:g} s: it goes on; wait again")
        self.run_id = run_id


class RunFailed(HaulierError):
    """A run ended in another way than `succeeded`."""

    run_id: str
    state: str
    """`failed`, `cancelled` or `timed_out`."""
    message: str
    """What happened and what to do, for people."""
    retryable: bool
    """Whether another run with the same parameters may end better without anybody changing anything."""
    exit_code: int | None
    """The container's exit code, if there was one."""
    error: RunError | None

    def __init__(self, run: RunView) -> None:
        """The exception that a run's end is."""
        error = run.error
        self.message = error.message if error else f"the run is {run.state}"
        code = error.code if error else str(run.state)
        super().__init__(code, f"run {run.id} of {run.job} {run.state.replace('_', ' ')}: {code}: {self.message}")
        self.run_id = run.id
        self.state = run.state
        self.retryable = error.retryable if error else False
        self.exit_code = run.exit_code
        self.error = error
