"""A Dagster asset whose job comes with the environment; says on the last line what became of it."""

import json
import os

import dagster as dg
from dagster_haulier import PipesHaulierClient


@dg.asset
def rows(context: dg.AssetExecutionContext, haulier: PipesHaulierClient) -> dg.MaterializeResult[None]:
    """What the job has loaded."""
    return haulier.run(context=context, job=os.environ["JOB"], extras={"n": 1}).get_materialize_result()


if __name__ == "__main__":
    with dg.DagsterInstance.ephemeral() as instance:
        ended = dg.materialize(
            [rows], resources={"haulier": PipesHaulierClient()}, instance=instance, raise_on_error=False
        )
        metadata: dict[str, object] = {}
        if ended.success:
            event = ended.asset_materializations_for_node("rows")[0]
            metadata = {name: value.value for name, value in event.metadata.items()}
        print(json.dumps({"success": ended.success, "metadata": metadata, "run": ended.run_id}))
