//! temporary
use haulier::{engines::docker::*, runner::EngineEntry, service::*, vault::*};
use std::sync::Arc;
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let dir = std::path::PathBuf::from("/tmp/hl");
    let s = Service::start(Parts {
        listen: "127.0.0.1:8080".parse()?,
        data_dir: dir.clone(),
        database_url: format!("sqlite:{}/haulier.db", dir.display()).into(),
        keyring: Keyring::read_or_create_file(&dir.join("master.key"))?,
        admin_token: Some("0123456789abcdef".into()),
        engines: Box::new(|owner| {
            Ok(vec![(
                "docker".to_owned(),
                EngineEntry::new("docker", Arc::new(DockerEngine::connect("docker", owner, DockerConfig::default())?)),
            )])
        }),
        default_engine: "docker".into(),
        log_limits: Default::default(),
        api: haulier::api::ApiConfig { public_url: None, max_body_bytes: 1 << 20 },
    })
    .await?;
    tracing::info!("listening on {}", s.address());
    tokio::signal::ctrl_c().await?;
    s.shutdown().await;
    Ok(())
}
