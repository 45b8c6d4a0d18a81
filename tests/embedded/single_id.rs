//! A user whom nobody lends ids has but one, which is root in its containers.

use std::{fs, path::Path, sync::Arc};

use haulier::{
    domain::InstallationId,
    engines::{
        Engine, EngineErrorKind, LaunchProgress,
        contract::{Step, run_case, skipped},
        embedded::{EmbeddedConfig, EmbeddedEngine},
    },
};
use ring::digest::{SHA256, digest};
use serde_json::json;
use tar::{Builder, Header};

use super::{HANDED_OVER, hand_over, ordinary_user::OrdinaryUser, root, subject};

const CASE: &str = "embedded_engine::single_id::one_id_is_root_and_no_other_user";

#[tokio::test(flavor = "multi_thread")]
async fn one_id_is_root_and_no_other_user() {
    if std::env::var_os(HANDED_OVER).is_some() {
        return alone().await;
    }
    match OrdinaryUser::stranger() {
        Err(why) => skipped(CASE, &why),
        Ok(user) => {
            let root = user.directory();
            hand_over(CASE, &user, root.path());
        }
    }
}

/// As that user.
async fn alone() {
    run_case(CASE, subject("embedded, one id", root()).await, |subject| async move {
        let health = subject.engine.probe().await;
        let hint = health.detail.expect("what it must do without");
        assert!(hint.contains("uidmap") || hint.contains("/etc/subuid"), "{hint}");
        let output =
            subject.stdout(&subject.spec(&[Step::Shell("id -u; stat -c %u:%g /etc/passwd; cat </dev/null")])).await;
        assert_eq!(output, "0\n0:0\n");

        // Files of others become root's; another user there cannot be.
        let archives = root().join("archives");
        fs::create_dir(&archives).unwrap();
        let config = EmbeddedConfig { archives: Some(archives.clone()), ..EmbeddedConfig::default() };
        let program = Path::new(env!("CARGO_BIN_EXE_haulier"));
        let engine = EmbeddedEngine::open("embedded", InstallationId::generate(), config, &root(), program).unwrap();
        let mut spec = subject.spec(&[]);
        (spec.command, spec.args) = (Some(vec!["/a".to_owned()]), Vec::new());
        for (user, expected) in [("", "exec format error"), ("1234", "1 user ids")] {
            let archive = archives.join(format!("{user}.tar"));
            fs::write(&archive, image_of_user(user)).unwrap();
            spec.image = format!("docker-archive:{}", archive.display());
            spec.attempt.run = haulier::domain::RunId::generate();
            let error = engine.ensure(&spec, &LaunchProgress::new().0).await.unwrap_err();
            let kind = if user.is_empty() { EngineErrorKind::CommandNotFound } else { EngineErrorKind::Rejected };
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.to_string().to_lowercase().contains(expected), "{error}");
        }
        for found in Arc::new(engine).list().await.unwrap() {
            subject.engine.remove(&found.handle).await.unwrap();
        }
        Ok(())
    })
    .await;
}

/// As `docker save` writes it: one file of someone else's, which is no program.
fn image_of_user(user: &str) -> Vec<u8> {
    let layer = archive(&[("a", b"neither a program nor a script", 1234)]);
    let diff_id: String = digest(&SHA256, &layer).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({"os": "linux", "config": {"User": user},
        "rootfs": {"diff_ids": [format!("sha256:{diff_id}")]}});
    let manifest = json!([{"Config": "c.json", "Layers": ["layer.tar"]}]);
    archive(&[
        ("manifest.json", manifest.to_string().as_bytes(), 0),
        ("c.json", config.to_string().as_bytes(), 0),
        ("layer.tar", &layer, 0),
    ])
}

fn archive(files: &[(&str, &[u8], u64)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content, owner) in files {
        let mut header = Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(*owner);
        header.set_gid(*owner);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}
