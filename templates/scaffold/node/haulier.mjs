// What a script gets from Haulier and tells it. Outside of Haulier, reports are not printed.
import { readFileSync } from "node:fs";

const json = (name) => JSON.parse(process.env[name] || "{}");

/** What the run was triggered with. */
export const parameters = json("HAULIER_PARAMETERS");

/** The job's state: what the last run that succeeded reported. */
export const state = json("HAULIER_STATE");

/** A secret of the job, from the environment or from its file. */
export function secret(name) {
  try {
    return process.env[name] ?? readFileSync(`/run/secrets/${name}`, "utf8");
  } catch {
    throw new Error(`there is no secret ${name}: name it under secrets: in haulier.yaml`);
  }
}

/** Reports any of output, metrics, state, progress, outcome ("done" or "continue") and error. */
export function report(values) {
  if (process.env.HAULIER_REPORT) {
    process.stdout.write(`::haulier:${process.env.HAULIER_REPORT}:${JSON.stringify(values)}\n`);
  }
}

/** Tells how far the script is. */
export function progress(done, total, text) {
  report({ progress: { done, total, text } });
}
