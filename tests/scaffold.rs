//! From an empty folder to a job: `init`, `dev` and `deploy` on the real binary, with real registries and builders.

#[path = "scaffold/assembly.rs"]
mod assembly;
#[path = "scaffold/deploy.rs"]
mod deploy;
#[path = "scaffold/dev.rs"]
mod dev;
#[path = "scaffold/docs.rs"]
mod docs;
#[path = "scaffold/init.rs"]
mod init;
#[path = "scaffold/journey.rs"]
mod journey;
#[path = "scaffold/project.rs"]
mod project;
#[path = "scaffold/registries.rs"]
mod registries;
#[expect(dead_code, reason = "the tests of the command line use more of it")]
#[path = "cli/service.rs"]
mod service;
#[path = "scaffold/sets.rs"]
mod sets;
