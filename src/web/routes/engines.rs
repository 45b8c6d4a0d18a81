//! The engines.

use axum::{Json, extract::State};

use super::{
    Answer, Visitor, Web,
    pages::{EngineRow, EnginesPage, Meter, Section},
};
use crate::{
    api::{Api, Problem, engines, extract::InProject, types::EngineView},
    domain::Timestamp,
    engines::Capabilities,
    web::{format::Ago, refusal::page},
};

/// All of them.
pub(in crate::web) async fn list(State(web): State<Web>, visitor: Visitor) -> Answer {
    let shell = visitor.live_shell(&web.api, Section::Engines, "Engines");
    page(&EnginesPage { engines: engine_rows(&web.api, &visitor.at, shell.now).await?, shell })
}

/// The engines as rows.
pub(super) async fn engine_rows(api: &Api, at: &InProject, now: Timestamp) -> Result<Vec<EngineRow>, Problem> {
    let Json(found) = engines::list(State(api.clone()), at.clone()).await?;
    Ok(found.items.into_iter().map(|engine| row(engine, now)).collect())
}

fn row(engine: EngineView, now: Timestamp) -> EngineRow {
    let (can, cannot) = abilities(engine.capabilities);
    let (reachable, version, detail) = match engine.health {
        None => (None, None, None),
        Some(health) => (Some(health.reachable), health.version, health.detail),
    };
    EngineRow {
        name: engine.name,
        kind: engine.kind,
        default: engine.default,
        reachable,
        version,
        detail,
        checked: engine.checked_at.map(|at| Ago::new(at, now)),
        active: engine.active,
        queued: engine.queued,
        meter: engine.max_running.map(|capacity| Meter { held: engine.active, capacity }),
        can,
        cannot,
    }
}

/// What an engine can do and what it cannot. A new capability does not compile until it has words.
fn abilities(capabilities: Capabilities) -> (Vec<&'static str>, Vec<&'static str>) {
    let Capabilities {
        memory_limit,
        cpu_limit,
        pids_limit,
        files,
        secret_files,
        secret_env,
        out_of_memory_told,
        streams_apart,
        pull,
        adopt,
        file_owner,
        whole_output,
        output_after_stop,
        schedules,
    } = capabilities;
    let all = [
        (memory_limit, "limit memory"),
        (cpu_limit, "limit processors"),
        (pids_limit, "limit processes"),
        (files, "place files in containers"),
        (secret_files, "give secrets as files"),
        (secret_env, "hide secrets in the environment"),
        (out_of_memory_told, "tell a kill for want of memory"),
        (streams_apart, "tell stdout and stderr apart"),
        (pull, "pull images"),
        (adopt, "keep containers over a restart"),
        (file_owner, "give files to the image's user"),
        (whole_output, "keep output that comes in a rush"),
        (output_after_stop, "keep output of what was stopped"),
        (schedules, "place containers by itself"),
    ];
    let words = |able: bool| all.into_iter().filter(move |(can, _)| *can == able).map(|(_, word)| word).collect();
    (words(true), words(false))
}
