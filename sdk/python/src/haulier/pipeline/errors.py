"""What can go wrong, with codes for orchestrators and words for people."""

from __future__ import annotations

from haulier.run import Failure


class PipelineError(Failure):
    """Something that a pipeline cannot get over."""

    code = "pipeline_error"
    retryable = False


class SettingsError(PipelineError):
    """The pipeline is not put together as it can work."""

    code = "pipeline_settings"


class SourceRefused(PipelineError):
    """The source says no, and would say so again."""

    code = "source_refused"


class SourceUnavailable(PipelineError):
    """The source did not answer well within the time that the pipeline is patient."""

    code = "source_unavailable"
    retryable = True


class UnexpectedAnswer(PipelineError):
    """The source's answer is not of the form that the pipeline was told."""

    code = "unexpected_answer"


class LakeError(PipelineError):
    """The lake is not as the job's state says, or cannot take the data."""

    code = "lake_error"
