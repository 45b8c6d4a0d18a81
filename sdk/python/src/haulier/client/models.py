"""What goes over the wire. Made from the OpenAPI document by `scripts/generate_models.py`: do not edit."""
from __future__ import annotations

# The defaults of nested models stand as plain values.
# mypy: disable-error-code="assignment"

from typing import Annotated, Any, Literal, Optional, Union
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from datetime import datetime


class Backoff(BaseModel):
    """
    Time between attempts: `seconds`, then `factor` times as long each time, never longer than `max_seconds`.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    factor: Annotated[Optional[float], Field(description="Growth from one to the next, 1 to 10.")] = 2.0
    max_seconds: Annotated[Optional[int], Field(description="The longest, in seconds.")] = 600
    seconds: Annotated[Optional[int], Field(description="Before the second attempt, in seconds.")] = 10


class FieldError(BaseModel):
    """
    One thing that is wrong with a document.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    detail: Annotated[str, Field(description="What is wrong and what to write instead.")]
    pointer: Annotated[
        str,
        Field(
            description="JSON Pointer (RFC 6901) to the field, like `/limits/0/weight`; empty for the whole document."
        ),
    ]


class FileSpec(BaseModel):
    """
    A file placed in the container before its start.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    content: Annotated[str, Field(description="The text.")]
    mode: Annotated[Optional[str], Field(description="Permission bits in octal, like `0644`.")] = None


class LogSummary(BaseModel):
    """
    What is known of a run's log.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    bytes: Annotated[int, Field(description="Size of the JSON lines, in bytes.")]
    complete: Annotated[bool, Field(description="Whether all that the script wrote was read to its end.")]
    truncated: Annotated[bool, Field(description="Whether the size limit cut it.")]


class NotifySpec(BaseModel):
    """
    What is told of a job's runs, and to whom. What is left out follows from the job's own history.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    channels: Annotated[
        Optional[list[str]], Field(description="The project's channels that are told; all of them when left out.")
    ] = []
    failing_after: Annotated[
        Optional[int], Field(description="How many failures in a row make the job count as failing.")
    ] = 3
    min_rows: Annotated[Optional[float], Field(description="Fewer rows are suspicious, whatever the history says.")] = (
        None
    )
    mute: Annotated[
        Optional[
            list[
                Union[
                    Literal[
                        "failed",
                        "failing",
                        "slow",
                        "short",
                        "few_rows",
                        "overdue",
                        "stuck",
                        "engine_unreachable",
                        "limit_held",
                        "disk_full",
                        "token_expiring",
                        "secret_expiring",
                    ],
                    str,
                ]
            ]
        ],
        Field(description="Kinds of notices that are not wanted."),
    ] = []
    overdue_after_seconds: Annotated[
        Optional[int],
        Field(
            description="The job is overdue when its last run was made so long ago, whatever the history says. In seconds."
        ),
    ] = None
    rows_metric: Annotated[Optional[str], Field(description="The reported metric that counts rows.")] = "rows"
    short_below_seconds: Annotated[
        Optional[int],
        Field(description="A run that succeeds sooner is suspicious, whatever the history says. In seconds."),
    ] = None
    slow_after_seconds: Annotated[
        Optional[int], Field(description="A run that takes longer is slow, whatever the history says. In seconds.")
    ] = None
    stuck_after_seconds: Annotated[
        Optional[int],
        Field(description="A run that waits longer in the queue is stuck, whatever the history says. In seconds."),
    ] = None


class Problem(BaseModel):
    """
    What went wrong, as `application/problem+json`.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    code: Annotated[str, Field(description="A stable code for programs, like `invalid_fields`.")]
    detail: Annotated[str, Field(description="What to do, for people.")]
    errors: Annotated[Optional[list[FieldError]], Field(description="What is wrong with which field.")] = None
    status: Annotated[int, Field(description="The HTTP status.")]
    title: Annotated[str, Field(description="The status in words.")]
    type: Annotated[str, Field(description="Always `about:blank`: `code` tells problems apart.")]


class Progress(BaseModel):
    """
    How far the script says it is.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    done: Annotated[Optional[float], Field(description="Units done.")] = None
    text: Annotated[Optional[str], Field(description="In words.")] = None
    total: Annotated[Optional[float], Field(description="Units in all.")] = None


class Resources(BaseModel):
    """
    What one container may use. What is left out is not limited.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    cpu: Annotated[Optional[float], Field(description="Processors, like 0.5.")] = None
    memory_mb: Annotated[
        Optional[int], Field(description="Memory, in MiB. Going over it ends the run with `out_of_memory`.")
    ] = None
    pids: Annotated[Optional[int], Field(description="Processes and threads.")] = None


class RetryPolicy(BaseModel):
    """
    How often a run is attempted, and after which failures of its own.

    Failures of the infrastructure (`evicted`, `engine_lost`, `engine_interrupted`) are apart: they are made again up to
    [`RetryPolicy::INFRASTRUCTURE_ATTEMPTS`] times whatever stands here.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    backoff: Annotated[Optional[Backoff], Field(description="Time between attempts.", validate_default=True)] = {
        "factor": 2.0,
        "max_seconds": 600,
        "seconds": 10,
    }
    max_attempts: Annotated[Optional[int], Field(description="Attempts in all, 1 to 20. 1 = never again.")] = 1
    on: Annotated[
        Optional[
            list[
                Union[
                    Literal[
                        "exit_code",
                        "script_error",
                        "out_of_memory",
                        "image_pull_failed",
                        "image_not_allowed",
                        "command_not_found",
                        "unschedulable",
                        "start_timeout",
                        "evicted",
                        "engine_lost",
                        "engine_interrupted",
                        "engine_rejected",
                        "duplicate_execution",
                        "report_invalid",
                        "state_conflict",
                        "slice_limit",
                        "queue_timeout",
                        "run_timeout",
                        "abandoned",
                        "superseded",
                        "cancelled",
                        "config_invalid",
                    ],
                    str,
                ]
            ]
        ],
        Field(description="After which failures; empty = after each that can be retried."),
    ] = []


class RunError(BaseModel):
    """
    Why a run did not succeed. Code and message are never blank: orchestrators show them as they are.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    code: Annotated[
        Union[
            Literal[
                "exit_code",
                "script_error",
                "out_of_memory",
                "image_pull_failed",
                "image_not_allowed",
                "command_not_found",
                "unschedulable",
                "start_timeout",
                "evicted",
                "engine_lost",
                "engine_interrupted",
                "engine_rejected",
                "duplicate_execution",
                "report_invalid",
                "state_conflict",
                "slice_limit",
                "queue_timeout",
                "run_timeout",
                "abandoned",
                "superseded",
                "cancelled",
                "config_invalid",
            ],
            str,
        ],
        Field(description="The stable code."),
    ]
    message: Annotated[str, Field(description="What happened and what to do, for people.")]
    reported_code: Annotated[
        Optional[str], Field(description="The code the script itself gave in its report, if any.")
    ] = None
    retryable: Annotated[bool, Field(description="Whether the same run may succeed when started again.")]


class ScheduleSpec(BaseModel):
    """
    When a job starts by itself. Times are local to the time zone.

    Where clocks jump forward, a time that does not exist is served at the first moment that does; where they go back,
    a time that comes twice is served the first time. Patterns with a step or `*` for minutes or hours follow real
    time: what falls into the gap is left out, and what comes twice is served twice.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    catch_up: Annotated[
        Optional[Union[Literal["none", "latest", "all"], str]],
        Field(description="What happens about times at which no service ran."),
    ] = None
    cron: Annotated[
        str, Field(description="Minute, hour, day of month, month, day of week; `@daily` and the like too.")
    ]
    jitter_seconds: Annotated[
        Optional[int],
        Field(
            description="Each run is started up to so much later, so that jobs with one time do not start at once. A job's delay is\nalways the same."
        ),
    ] = None
    paused: Annotated[
        Optional[bool], Field(description="Starts nothing. What is missed meanwhile is not made up for.")
    ] = None
    timezone: Annotated[Optional[str], Field(description="A name of the IANA time zone database.")] = None


class SecretSpec(BaseModel):
    """
    A secret of a job. Give either its value, or the name of one of the project's secrets; with neither, the value that
    the job already has is kept.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    as_: Annotated[
        Optional[Union[Literal["env", "file"], str]], Field(alias="as", description="How the script gets it.")
    ] = "env"
    from_: Annotated[Optional[str], Field(alias="from")] = None
    value: Annotated[
        Optional[SecretStr], Field(description="The value. Written, never read back: always null in answers.")
    ] = None


class TokenView(BaseModel):
    """
    A token, without its secret.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    created_at: Annotated[datetime, Field(description="When it was made.")]
    expires_at: Optional[datetime] = None
    id: Annotated[str, Field(description="Its id; not secret.")]
    jobs: Annotated[list[str], Field(description="The only jobs it reaches; empty = all of the project.")]
    name: Annotated[str, Field(description="Its name.")]
    project: Optional[str] = None
    revoked_at: Optional[datetime] = None
    scopes: Annotated[
        list[Union[Literal["read", "trigger", "write", "admin"], str]], Field(description="What it may do.")
    ]


class Waiting(BaseModel):
    """
    Why a run waits, for people and programs.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    detail: Annotated[str, Field(description="In words.")]
    holders: Annotated[list[str], Field(description="Runs that hold what it waits for; at most 10 are named.")]
    position: Annotated[Optional[int], Field(description="Its place in the job's queue, from 1.")] = None
    reason: Annotated[
        Union[
            Literal[
                "queued",
                "limit",
                "not_before",
                "backing_off",
                "launching",
                "pulling_image",
                "engine_unreachable",
                "no_capacity",
            ],
            str,
        ],
        Field(description="The kind of reason."),
    ]


class WhoAmI(BaseModel):
    """
    Who the caller is.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    name: Annotated[str, Field(description="What they are called in histories.")]
    project: Annotated[str, Field(description="The project that requests are about.")]
    scopes: Annotated[
        list[Union[Literal["read", "trigger", "write", "admin"], str]],
        Field(description="What they may do in that project."),
    ]
    token: Optional[TokenView] = None
    version: Annotated[str, Field(description="The service's version.")]


class LimitUse(BaseModel):
    """
    A named limit that each run of the job holds a part of.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    name: Annotated[str, Field(description="The limit's name.")]
    weight: Annotated[Optional[int], Field(description="How much of its capacity one run holds.")] = None


class LogRecord(BaseModel):
    """
    A line of a log.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    attempt: Annotated[int, Field(description="The attempt that wrote it.")]
    partial: Annotated[
        Optional[bool], Field(description="Whether the line goes on in the next record of the same stream.")
    ] = None
    stream: Annotated[Union[Literal["stdout", "stderr", "haulier"], str], Field(description="Where it came from.")]
    text: Annotated[str, Field(description="The line without its end.")]
    time: Annotated[datetime, Field(description="When it was written, by the engine's clock.")]


class RunRequest(BaseModel):
    """
    What a caller asks for when it triggers a run.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    abandon_after_seconds: Annotated[
        Optional[int], Field(description="Cancel the run when nobody asked for it for so long. 30 to 86400.")
    ] = None
    callBackUri: Annotated[
        Optional[str],
        Field(description="Told the run's end as Data Factory's WebHook activity wants it, which adds this itself."),
    ] = None
    callback_url: Annotated[
        Optional[str],
        Field(description="Told the run's end, by a signed request (Standard Webhooks). Never shown again."),
    ] = None
    env: Annotated[
        Optional[dict[str, str]], Field(description="Added to the job's environment; wins over it. Sealed at rest.")
    ] = {}
    if_exists: Annotated[
        Optional[Union[Literal["return", "return_unless_failed"], str]],
        Field(description="What to do when the idempotency key was used before."),
    ] = "return"
    labels: Annotated[Optional[dict[str, str]], Field(description="Added to the job's labels; win over them.")] = {}
    not_before: Optional[datetime] = None
    parameters: Annotated[
        Optional[dict[str, Any]],
        Field(
            description="Given to the script as `HAULIER_PARAMETERS`; above 128 KiB, which no variable can hold, in the file that\n`HAULIER_PARAMETERS_FILE` names. At most 256 KiB as JSON."
        ),
    ] = None
    priority: Annotated[Optional[int], Field(description="Higher goes first, -100 to 100.")] = 0
    source: Annotated[
        Optional[dict[str, str]],
        Field(
            description='Who asks, for people and filters: `{"kind": "adf", "pipeline": "…"}`. At most 16 values of 256 bytes.'
        ),
    ] = {}
    timeout_seconds: Annotated[Optional[int], Field(description="Instead of the job's `timeout_seconds`.")] = None


class RunView(BaseModel):
    """
    A run. Every field is always there, null when there is nothing.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    abandon_after_seconds: Annotated[Optional[int], Field(description="Its lease.")] = None
    attempt: Annotated[int, Field(description="The present attempt; 0 before the first.")]
    created_at: Annotated[datetime, Field(description="When it was triggered.")]
    created_by: Annotated[str, Field(description="By which token it was triggered.")]
    duration_ms: Annotated[
        Optional[int], Field(description="From start to end, in milliseconds; up to now while it runs.")
    ] = None
    engine: Annotated[str, Field(description="The engine it is launched on.")]
    error: Optional[RunError] = None
    exit_code: Annotated[Optional[int], Field(description="The last attempt's exit code.")] = None
    finished: Annotated[bool, Field(description="Whether it never changes again.")]
    finished_at: Optional[datetime] = None
    id: Annotated[str, Field(description="Its id.")]
    job: Annotated[str, Field(description="The job's name.")]
    job_id: Annotated[str, Field(description="The job's id.")]
    labels: Annotated[dict[str, str], Field(description="Labels, the job's included.")]
    log: Annotated[LogSummary, Field(description="Its log.")]
    metrics: Annotated[dict[str, float], Field(description="What the script reported as metrics.")]
    not_before: Optional[datetime] = None
    output: Annotated[Optional[Any], Field(description="What the script reported as output.")] = None
    parameters: Annotated[dict[str, Any], Field(description="What it was triggered with.")]
    priority: Annotated[int, Field(description="Higher goes first.")]
    progress: Optional[Progress] = None
    project: Annotated[str, Field(description="The project's name.")]
    queued_at: Annotated[datetime, Field(description="When it last joined the queue.")]
    retry_of: Optional[str] = None
    revision: Annotated[int, Field(description="The revision it is pinned to.")]
    slice: Annotated[int, Field(description="The present slice, from 1.")]
    source: Annotated[dict[str, str], Field(description="Who asked.")]
    started_at: Optional[datetime] = None
    state: Annotated[
        Union[
            Literal["queued", "starting", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"], str
        ],
        Field(description="Where it stands."),
    ]
    stopped_by: Annotated[Optional[str], Field(description="Who asked for its end.")] = None
    timeout_seconds: Annotated[int, Field(description="How long an attempt may run.")]
    traceparent: Optional[str] = None
    waiting: Optional[Waiting] = None


class JobSpec(BaseModel):
    """
    What a job is: the document that people write, apply and read back.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    args: Annotated[Optional[list[str]], Field(description="Arguments.")] = None
    command: Annotated[Optional[list[str]], Field(description="Replaces the image's entry point.")] = None
    config: Annotated[
        Optional[dict[str, Any]],
        Field(description="Any JSON object, given to the script as `HAULIER_CONFIG`. Sealed at rest."),
    ] = None
    enabled: Annotated[Optional[bool], Field(description="Whether new runs may be started.")] = None
    engine: Optional[str] = None
    env: Annotated[Optional[dict[str, str]], Field(description="Environment. Sealed at rest.")] = None
    files: Annotated[Optional[dict[str, FileSpec]], Field(description="Files by absolute path. Sealed at rest.")] = None
    image: Annotated[str, Field(description="Image reference, as the engine pulls it.")]
    kill_grace_seconds: Annotated[Optional[int], Field(description="Time between TERM and KILL, in seconds.")] = None
    labels: Annotated[Optional[dict[str, str]], Field(description="For people and filters.")] = None
    limits: Annotated[Optional[list[LimitUse]], Field(description="Named limits shared with other jobs.")] = None
    log_retention_days: Annotated[Optional[int], Field(description="How long logs are kept, in days.")] = None
    max_parallel: Annotated[
        Optional[int], Field(description="How many runs may be active at once; no bound when left out.")
    ] = None
    max_slices: Annotated[
        Optional[int], Field(description="How many slices one run may have (see the report outcome `continue`).")
    ] = None
    name: Annotated[str, Field(description="Unique in the project.")]
    notify: Annotated[Optional[NotifySpec], Field(description="What is told of its runs, and to whom.")] = None
    pin: Annotated[
        Optional[bool],
        Field(
            description="Whether to keep the digest that the image's tag means when this is applied, instead of the tag: then all runs of\na revision use the same image."
        ),
    ] = None
    queue_timeout_seconds: Annotated[
        Optional[int], Field(description="The longest a run may wait in the queue, in seconds; no bound when left out.")
    ] = None
    registry: Optional[str] = None
    resources: Annotated[Optional[Resources], Field(description="Limits on what one container may use.")] = None
    retry: Annotated[Optional[RetryPolicy], Field(description="When failed attempts are made again.")] = None
    schedule: Optional[ScheduleSpec] = None
    secrets: Annotated[
        Optional[dict[str, SecretSpec]],
        Field(description="Secrets by name. Sealed at rest; their values never come back."),
    ] = None
    start_timeout_seconds: Annotated[
        Optional[int],
        Field(description="The longest from admission until the container runs (image pull, scheduling), in seconds."),
    ] = None
    timeout_seconds: Annotated[Optional[int], Field(description="The longest a run's attempt may run, in seconds.")] = (
        None
    )
    when_full: Annotated[
        Optional[Union[Literal["queue", "reject", "replace", "keep_newest"], str]],
        Field(description="What happens to a new run when `max_parallel` are active."),
    ] = None


class JobView(BaseModel):
    """
    A job with its present revision.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    archived_at: Optional[datetime] = None
    created_at: Annotated[datetime, Field(description="When it was registered.")]
    id: Annotated[str, Field(description="Its id.")]
    project: Annotated[str, Field(description="The project's name.")]
    revision: Annotated[int, Field(description="The number of the present revision.")]
    spec: Annotated[JobSpec, Field(description="The specification. Values of secrets are null.")]
    updated_at: Annotated[datetime, Field(description="When its present revision was made.")]


class PageJobView(BaseModel):
    """
    A page of a list.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    items: Annotated[list[JobView], Field(description="The entries.")]
    next_cursor: Annotated[
        Optional[str], Field(description="Give it as `cursor` to get the next page; null after the last.")
    ] = None


class PageRunView(BaseModel):
    """
    A page of a list.
    """

    model_config = ConfigDict(
        extra="allow",
    )
    items: Annotated[list[RunView], Field(description="The entries.")]
    next_cursor: Annotated[
        Optional[str], Field(description="Give it as `cursor` to get the next page; null after the last.")
    ] = None
