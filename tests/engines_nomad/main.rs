//! The engine contract on Nomad: on the agent that `HAULIER_TEST_NOMAD_ADDR` names, with the token of
//! `HAULIER_TEST_NOMAD_TOKEN`, which need not be allowed more than the README says, and for faults that of
//! `HAULIER_TEST_NOMAD_FAULTS_TOKEN`, which must be allowed `alloc-lifecycle` as well; rights also with that of
//! `HAULIER_TEST_NOMAD_MANAGEMENT_TOKEN`, which must be allowed to make tokens; else on an agent of the test's
//! own, which answers as a real one was recorded to, and runs real containers.

mod cluster;
#[path = "../gate/mod.rs"]
mod gate;
mod node;
mod recorded;
mod rights;
mod secrets;
mod server;
#[path = "../subject/mod.rs"]
mod subject;
mod templates;
mod tokens;
mod world;

use std::{env, io::Write, sync::Arc};

use async_trait::async_trait;
use gate::{Gate, Target};
use haulier::{
    engine_contract,
    engines::{
        Handle,
        contract::{Dialect, Faults, SlowImage, Subject, Verdict},
        nomad::{NomadConfig, NomadEngine},
    },
};
use serde_json::Value;
use server::Server;
use subject::{subject, variable};

engine_contract!(nomad_contract, nomad);

async fn nomad() -> Result<Subject, String> {
    let real = env::var("HAULIER_TEST_NOMAD_ADDR").ok();
    let (address, token, server) = match &real {
        Some(address) => {
            let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
            (address, env::var("HAULIER_TEST_NOMAD_TOKEN").unwrap_or_default(), None)
        }
        None => {
            let server = Server::start(&variable("HAULIER_TEST_DOCKER_HOST")?).await;
            (server.address.to_string(), server.token.clone(), Some(server))
        }
    };
    let gate = Gate::to(Target::Tcp(address.clone())).await;
    let mut token_file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    writeln!(token_file, "{token}").map_err(|error| error.to_string())?;
    let config = NomadConfig {
        address: Some(format!("http://{}", gate.address)),
        token_file: (!token.is_empty()).then(|| token_file.path().to_owned()),
        // A real node's processors are whatever they are.
        cpu_mhz: server.is_some().then_some(1000),
        log_file_mb: 16,
        ..NomadConfig::default()
    };
    let faults = NomadFaults {
        gate,
        address,
        token: env::var("HAULIER_TEST_NOMAD_FAULTS_TOKEN").unwrap_or(token),
        _server: server,
    };
    let subject = subject("nomad", SlowImage::Proxied, Arc::new(faults), |owner| {
        Arc::new(NomadEngine::connect("nomad", owner, config.clone()).expect("the settings are right"))
    })?;
    let dialect = if real.is_some() { Dialect::LingeringShell } else { Dialect::Shell };
    Ok(Subject { dialect, many: 20, ..subject })
}

/// What anybody may do who has such a token.
struct NomadFaults {
    gate: Gate,
    address: String,
    token: String,
    _server: Option<Server>,
}

#[async_trait]
impl Faults for NomadFaults {
    async fn interrupt(&self) -> Verdict {
        self.gate.close();
        Ok(())
    }

    async fn restore(&self) {
        self.gate.open();
    }

    async fn start_again(&self, handle: &Handle) -> Verdict {
        let url = format!("http://{}/v1/job/{}/allocations", self.address, handle.id);
        let http = reqwest::Client::new();
        let answer = http.get(url).header("X-Nomad-Token", &self.token).send().await.expect("an answer");
        let allocations: Value = answer.json().await.expect("a list");
        let id = allocations[0]["ID"].as_str().expect("an allocation");
        let url = format!("http://{}/v1/allocation/{id}/stop", self.address);
        let answer = http.post(url).header("X-Nomad-Token", &self.token).send().await.expect("an answer");
        assert!(answer.status().is_success());
        Ok(())
    }

    async fn lose(&self, handle: &Handle) -> Verdict {
        let url = format!("http://{}/v1/job/{}?purge=true", self.address, handle.id);
        let answer = reqwest::Client::new().delete(url).header("X-Nomad-Token", &self.token).send().await;
        assert!(answer.expect("an answer").status().is_success());
        Ok(())
    }
}
