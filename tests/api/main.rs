//! The service over HTTP, through the typed client, on the simulated engine.

mod admission;
mod await_link;
mod bad_input;
mod callbacks;
mod connections;
mod dashboard;
mod databases;
mod history;
mod issuer;
mod jobs;
mod keys;
mod limits;
mod logs;
mod mail;
mod metrics;
mod notices;
mod prometheus;
mod runs;
mod schedules;
mod scripts;
mod support;
mod telemetry;
mod tokens;
mod tokens_of_others;
mod trouble;
