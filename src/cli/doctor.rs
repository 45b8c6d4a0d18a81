//! `haulier doctor`: what is well, what is not, and what to do.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use comfy_table::{Cell, Color};
use serde::Serialize;

use super::{context::Context, exit, text::time, token::scopes};
use crate::{
    api::types::{EngineView, WhoAmI},
    client::{Client, ClientError},
    config::{Config, MasterKeySource, ServeArgs, Surroundings},
    domain::{Clock, SystemClock},
};

/// A token that ends sooner than this is worth a word.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warning,
    Wrong,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    verdict: Verdict,
    detail: String,
}

#[derive(Debug, Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, verdict: Verdict, what: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Check { what: what.into(), verdict, detail: detail.into() });
    }
}

pub(super) async fn run(context: &Context) -> anyhow::Result<u8> {
    let (client, out) = (context.client()?, context.out);
    let mut checks = Checks::default();
    if service(&client, &mut checks).await {
        match client.whoami().await {
            Ok(me) => {
                token(&me, &mut checks);
                engines(&client, &mut checks).await;
            }
            Err(error) => checks.add(Verdict::Wrong, "token", error.to_string()),
        }
    }
    if is_here(client.url()) {
        data_dir(&mut checks);
    }
    out.list("checks", &checks.0, &["CHECK", "VERDICT", "DETAIL"], |check| {
        let verdict = match check.verdict {
            Verdict::Ok => out.verdict("ok", Color::Green),
            Verdict::Warning => out.verdict("warning", Color::Yellow),
            Verdict::Wrong => out.verdict("wrong", Color::Red),
        };
        vec![Cell::new(&check.what), verdict, Cell::new(&check.detail)]
    })?;
    let wrong = checks.0.iter().any(|check| check.verdict == Verdict::Wrong);
    Ok(if wrong { exit::FAILED } else { exit::OK })
}

/// Whether the service answers at all.
async fn service(client: &Client, checks: &mut Checks) -> bool {
    match client.probe("/healthz").await {
        Ok(()) => checks.add(Verdict::Ok, "service", format!("answers at {}", client.url())),
        Err(error) => {
            checks.add(Verdict::Wrong, "service", error.to_string());
            return false;
        }
    }
    match client.probe("/readyz").await {
        Ok(()) => checks.add(Verdict::Ok, "database", "answers"),
        Err(error) => checks.add(Verdict::Wrong, "database", error.to_string()),
    }
    true
}

fn token(me: &WhoAmI, checks: &mut Checks) {
    let reach = match &me.token {
        Some(token) if token.project.is_none() => "the whole installation".to_owned(),
        _ => format!("project {}", me.project),
    };
    let detail = format!("{}: {} in {reach}", me.name, scopes(&me.scopes));
    let now = SystemClock.now();
    match me.token.as_ref().and_then(|token| token.expires_at) {
        Some(end) if end.since(now) < SOON => {
            checks.add(Verdict::Warning, "token", format!("{detail}; stops working {}: make another", time(end)));
        }
        _ => checks.add(Verdict::Ok, "token", detail),
    }
    let own = env!("CARGO_PKG_VERSION");
    if me.version == own {
        checks.add(Verdict::Ok, "version", format!("{own}, as the service's"));
    } else {
        let detail = format!("this is {own}, the service {}: use the same to be safe", me.version);
        checks.add(Verdict::Warning, "version", detail);
    }
}

async fn engines(client: &Client, checks: &mut Checks) {
    match client.engines().await {
        Ok(page) => page.items.iter().for_each(|found| engine(found, checks)),
        Err(ClientError::Problem(problem)) if problem.status == 403 => {
            checks.add(Verdict::Warning, "engines", "this token may not look at them");
        }
        Err(error) => checks.add(Verdict::Wrong, "engines", error.to_string()),
    }
}

fn engine(engine: &EngineView, checks: &mut Checks) {
    let what = format!("engine {}", engine.name);
    match &engine.health {
        None => checks.add(Verdict::Warning, what, "was not asked yet: try again in a moment"),
        Some(health) if health.reachable => {
            let version = health.version.clone().unwrap_or_else(|| engine.kind.clone());
            match &health.detail {
                None => checks.add(Verdict::Ok, what, version),
                Some(lacks) => checks.add(Verdict::Warning, what, format!("{version}: {lacks}")),
            }
        }
        Some(health) => {
            let detail = health.detail.clone().unwrap_or_else(|| "does not answer".to_owned());
            checks.add(Verdict::Wrong, what, detail);
        }
    }
}

/// Whether the service runs on this machine.
fn is_here(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Looks where `serve`, started from here, would keep its data.
fn data_dir(checks: &mut Checks) {
    let around = Surroundings::of_this_process();
    let args = ServeArgs {
        config: around.env.get("HAULIER_CONFIG").map(Into::into),
        data_dir: around.env.get("HAULIER_DATA_DIR").map(Into::into),
        listen: None,
    };
    let config = match Config::load(&args, &around) {
        Ok(config) => config,
        Err(error) => return checks.add(Verdict::Wrong, "configuration", error.to_string()),
    };
    let dir = &config.storage.data_dir;
    // Then the service was started in another way, and its directory is not known.
    let Ok(found) = dir.metadata() else { return };
    if found.mode() & 0o077 == 0 {
        checks.add(Verdict::Ok, "data directory", dir.display().to_string());
    } else {
        let detail = format!("{0} is open to others: chmod 700 {0}", dir.display());
        checks.add(Verdict::Warning, "data directory", detail);
    }
    if let MasterKeySource::Default(path) | MasterKeySource::File(path) = &config.secrets.master_key {
        master_key(path, checks);
    }
}

fn master_key(path: &Path, checks: &mut Checks) {
    match path.metadata() {
        Ok(found) if found.mode() & 0o077 == 0 => {
            checks.add(Verdict::Ok, "master key", format!("{}: is there a backup of it elsewhere?", path.display()));
        }
        Ok(_) => {
            let detail = format!("others can read it: chmod 600 {}", path.display());
            checks.add(Verdict::Wrong, "master key", detail);
        }
        // Others may not look into the directory.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
        Err(error) => checks.add(Verdict::Warning, "master key", format!("{}: {error}", path.display())),
    }
}
