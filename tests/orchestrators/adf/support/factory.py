"""A pipeline's control flow as Data Factory runs it, but without its pauses."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .expressions import Result, Scope
from .web import ActivityFailedError, Caller, PipelineCancelledError, seconds_of

HIDDEN = "***"
LARGEST_RETURN_VALUE = 4 * 1024 * 1024


@dataclass
class ActivityRun:
    """What Data Factory's monitoring shows of one try of an activity."""

    name: str
    status: str
    input: Any
    output: Any
    error: Any


@dataclass
class PipelineRun:
    """One run of a pipeline, and how it ended."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    return_value: dict[str, Any] | None = None
    failure: dict[str, str] | None = None
    """`errorCode` and `message` of a Fail activity."""
    activities: list[ActivityRun] = field(default_factory=list)

    def tries(self, name: str) -> list[ActivityRun]:
        """The tries of an activity, in order."""
        return [each for each in self.activities if each.name == name]


class Factory:
    """Runs pipelines."""

    def __init__(self, caller: Caller) -> None:
        """With this way to reach the world."""
        self.caller = caller

    def run(self, pipeline: dict[str, Any], parameters: dict[str, Any]) -> PipelineRun:
        """Runs it to its end."""
        run = PipelineRun()
        properties = pipeline["properties"]
        known = properties["parameters"]
        assert parameters.keys() <= known.keys(), f"unknown parameters: {parameters.keys() - known.keys()}"
        values = {name: parameters.get(name, known[name].get("defaultValue")) for name in known}
        system = {"DataFactory": "factory", "Pipeline": pipeline["name"], "RunId": run.id}
        try:
            succeeded = _Walk(self.caller, run).all(properties["activities"], Scope(system, values))
            run.status = "Succeeded" if succeeded else "Failed"
        except PipelineCancelledError:
            run.status = "Cancelled"
        return run


class _Walk:
    """The walk through one run."""

    def __init__(self, caller: Caller, run: PipelineRun) -> None:
        self._caller = caller
        self._run = run

    def all(self, activities: list[dict[str, Any]], scope: Scope, deadline: float = float("inf")) -> bool:
        """Runs activities as their conditions say; tells whether they ended well."""
        open_ = list(activities)
        while open_:
            ready = [each for each in open_ if all(d["activity"] in scope.results for d in each["dependsOn"])]
            assert ready, f"these wait for each other: {[each['name'] for each in open_]}"
            for activity in ready:
                open_.remove(activity)
                met = all(_is_met(each, scope.results) for each in activity["dependsOn"])
                result = self._one(activity, scope, deadline) if met else Result("Skipped")
                scope.results[activity["name"]] = result
        return _is_well(activities, scope.results)

    def _one(self, activity: dict[str, Any], scope: Scope, deadline: float) -> Result:
        properties = activity["typeProperties"]
        match activity["type"]:
            case "WebActivity":
                return self._web(activity, scope, deadline)
            case "WebHook":
                evaluated = scope.evaluate(properties)
                return self._once(activity, evaluated, partial(self._caller.web_hook, evaluated))
            case "Until":
                return self._until(properties, scope)
            case "Switch":
                return self._switch(properties, scope)
            case "SetVariable":
                return self._return(properties, scope)
            case "Fail":
                return self._fail(properties, scope)
        raise AssertionError(f"{activity['type']} is not known here")

    def _web(self, activity: dict[str, Any], scope: Scope, deadline: float) -> Result:
        properties = scope.evaluate(activity["typeProperties"])
        policy = scope.evaluate(activity["policy"])
        for tries_left in range(policy["retry"], -1, -1):
            end = min(deadline, time.monotonic() + seconds_of(policy["timeout"]))
            result = self._once(activity, properties, partial(self._caller.web, properties, end))
            if result.status == "Succeeded" or time.monotonic() >= deadline or not tries_left:
                break
        return result

    def _once(self, activity: dict[str, Any], properties: dict[str, Any], perform: Callable[[], Result]) -> Result:
        try:
            result = perform()
        except ActivityFailedError as error:
            result = Result("Failed", {"executionDuration": 0}, error.error)
        policy = activity["policy"]
        shown = HIDDEN if policy["secureInput"] else properties
        output = HIDDEN if policy["secureOutput"] else result.output
        self._run.activities.append(ActivityRun(activity["name"], result.status, shown, output, result.error))
        return result

    def _until(self, properties: dict[str, Any], scope: Scope) -> Result:
        """It does not stop when an activity in it fails."""
        deadline = time.monotonic() + seconds_of(scope.evaluate(properties["timeout"]))
        while True:
            inner = scope.inner()
            is_well = self.all(properties["activities"], inner, deadline)
            if inner.evaluate(properties["expression"]) and time.monotonic() < deadline:
                return Result("Succeeded" if is_well or not self._caller.fails_loops else "Failed")
            if time.monotonic() >= deadline:
                return Result("Failed", error={"errorCode": "Timeout", "message": "The Until activity has timed out."})

    def _switch(self, properties: dict[str, Any], scope: Scope) -> Result:
        on = scope.evaluate(properties["on"])
        assert isinstance(on, str)
        cases = {case["value"]: case["activities"] for case in properties["cases"]}
        chosen = cases.get(on, properties["defaultActivities"])
        return Result("Succeeded" if self.all(chosen, scope.inner()) else "Failed")

    def _return(self, properties: dict[str, Any], scope: Scope) -> Result:
        assert properties["variableName"] == "pipelineReturnValue"
        assert properties["setSystemVariable"] is True
        assert self._run.return_value is None, "only one activity may set the return value"
        value = {each["key"]: scope.evaluate(each["value"]) for each in properties["value"]}
        assert len(str(value)) <= LARGEST_RETURN_VALUE
        self._run.return_value = value
        return Result("Succeeded")

    def _fail(self, properties: dict[str, Any], scope: Scope) -> Result:
        error = {"errorCode": scope.evaluate(properties["errorCode"]), "message": scope.evaluate(properties["message"])}
        for value in error.values():
            assert isinstance(value, str), "Data Factory would put a confusing text of its own here"
            assert value.strip(), "Data Factory would put a confusing text of its own here"
        self._run.failure = error
        return Result("Failed", error=error)


def _is_met(dependency: dict[str, Any], results: dict[str, Result]) -> bool:
    status = results[dependency["activity"]].status
    wanted = dependency["dependencyConditions"]
    return status in wanted or ("Completed" in wanted and status in ("Succeeded", "Failed"))


def _is_well(activities: list[dict[str, Any]], results: dict[str, Result]) -> bool:
    """Data Factory's rule: the activities on which none depends decide; for one that was skipped, those before it."""
    before = {each["name"]: [d["activity"] for d in each["dependsOn"]] for each in activities}
    depended_on = {name for names in before.values() for name in names}

    def is_well(name: str) -> bool:
        if results[name].status == "Skipped":
            return all(is_well(each) for each in before[name])
        return results[name].status == "Succeeded"

    return all(is_well(name) for name in before if name not in depended_on)
