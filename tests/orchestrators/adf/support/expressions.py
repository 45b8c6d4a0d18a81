"""Data Factory's expression language: the real one, on .NET."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from data_factory_testing_framework.models import DataFactoryElement
from data_factory_testing_framework.state import (
    ActivityResult,
    DependencyCondition,
    PipelineRunState,
    RunParameter,
    RunParameterType,
)

LONGEST_EXPRESSION = 8192
"""In characters (Data Factory's limit)."""
ONE_AT_A_TIME = Lock()
"""The library makes its grammar anew for each expression, with Python's own parser, and in CPython 3.11 two threads in
that one count each other's depth as theirs: "AST constructor recursion depth mismatch"."""


def text_of(expression: dict[str, str]) -> str:
    """The text of an expression object. Return values have it under another name than all else."""
    return expression["content"] if "content" in expression else expression["value"]


@dataclass
class Result:
    """How an activity ended."""

    status: str
    """Succeeded, Failed or Skipped."""
    output: Any = None
    error: dict[str, str] | None = None


@dataclass
class Scope:
    """What expressions can refer to: the pipeline, and activities before them in this scope or around it."""

    system: dict[str, Any]
    parameters: dict[str, Any]
    results: dict[str, Result] = field(default_factory=dict)

    def inner(self) -> Scope:
        """The inside of a container: it sees what is around it, and is not seen from there."""
        return Scope(self.system, self.parameters, dict(self.results))

    def evaluate(self, value: Any) -> Any:
        """The value with all expressions in it evaluated. One that cannot be evaluated is an error of the template."""
        if isinstance(value, list):
            return [self.evaluate(each) for each in value]
        if not isinstance(value, dict):
            return value
        if value.get("type") == "Expression":
            return self._evaluate(text_of(value))
        return {key: self.evaluate(each) for key, each in value.items()}

    def _evaluate(self, expression: str) -> Any:
        assert len(expression) <= LONGEST_EXPRESSION, f"an expression is too long: {expression}"
        parameters = [RunParameter(RunParameterType.System, *item) for item in self.system.items()]
        parameters += [RunParameter(RunParameterType.Pipeline, *item) for item in self.parameters.items()]
        results = [
            ActivityResult(name, DependencyCondition(result.status), result.output, result.error)
            for name, result in self.results.items()
            if result.status != "Skipped"
        ]
        with ONE_AT_A_TIME:
            return DataFactoryElement(expression).evaluate(PipelineRunState(parameters, [], results))
