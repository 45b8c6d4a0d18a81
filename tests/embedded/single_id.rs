//! A user whom nobody lends ids has but one, which is root in its containers.

use haulier::engines::{
    Engine, EngineErrorKind, LaunchProgress,
    contract::{Step, run_case, skipped},
};

use super::{HANDED_OVER, archive, hand_over, ordinary_user::OrdinaryUser, root, subject};

const CASE: &str = "embedded_engine::single_id::one_id_is_root_and_no_other_user";

#[tokio::test(flavor = "multi_thread")]
async fn one_id_is_root_and_no_other_user() {
    if std::env::var_os(HANDED_OVER).is_some() {
        return alone().await;
    }
    // Nobody on any machine.
    let stranger = OrdinaryUser { uid: 1_234_567_890, gid: 1_234_567_890, home: "/nonexistent".into() };
    match stranger.checked() {
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
        let output = subject.stdout(&subject.spec(&[Step::Shell("id -u; stat -c %u:%g /etc/passwd")])).await;
        assert_eq!(output, "0\n0:0\n");

        // Files of others become root's; another user there cannot be.
        let archives = tempfile::tempdir_in(root()).unwrap();
        let engine = archive::engine(subject.owner, &root(), archives.path());
        let files: &[archive::File<'_>] = &[("a", b"neither a program nor a script", 1234)];
        for (user, kind, words) in [
            ("", EngineErrorKind::CommandNotFound, "Exec format error"),
            ("1234", EngineErrorKind::Rejected, "has 1 user ids"),
        ] {
            let spec = archive::launch(&subject, archives.path(), &[files], user, &["/a"]);
            let error = engine.ensure(&spec, &LaunchProgress::new().0).await.unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        Ok(())
    })
    .await;
}
