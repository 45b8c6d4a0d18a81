// Loads what is new since the last run. Replace `records` by what your source gives.
import { pathToFileURL } from "node:url";

import * as run from "./haulier.mjs";

/** The records that come after `since`, at most `count` of them. */
export function records(since, count) {
  return Array.from({ length: count }, (_, index) => ({ id: since + index + 1 }));
}

function main() {
  const since = run.state.since ?? 0;
  const rows = records(since, run.parameters.count ?? 3);
  rows.forEach((row, index) => {
    console.log(`loaded record ${row.id}`);
    run.progress(index + 1, rows.length, "records");
  });
  // The state is kept for the next run only if this one succeeds.
  run.report({ output: { rows: rows.length }, metrics: { rows: rows.length }, state: { since: since + rows.length } });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  main();
}
