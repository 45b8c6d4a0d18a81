//! Images that cannot be had, and some that can.
//!
//! Some engines tell what is wrong when they are asked to launch, others when they are asked how the workload stands:
//! the same meaning must arrive.

use std::time::Duration;

use tokio::time::timeout;

use super::{NotAsked, PATIENCE, Skipped, Step, Subject, Verdict, eventually, slow_registry::SlowRegistry};
use crate::{
    domain::WaitReason,
    engines::{
        EngineErrorKind, Exit, Handle, LaunchFailure, LaunchProgress, LaunchSpec, Persistence, PullPolicy,
        WorkloadPhase,
    },
};

/// Where an image comes from that takes long to pull.
#[derive(Debug, Clone)]
pub enum SlowImage {
    /// From a registry in front of the one that [`Subject::image`] names, which the case itself starts.
    Proxied,
    /// The same, at one of these addresses: the engine takes plain HTTP from no others.
    ProxiedAt(Vec<String>),
    /// It is slow by itself.
    Named(String),
    /// There is none.
    None(NotAsked),
}

/// Launches what can never run; what is wrong with it.
async fn refused(subject: &Subject, spec: &LaunchSpec) -> EngineErrorKind {
    let kind = match subject.engine.ensure(spec, &LaunchProgress::new().0).await {
        Err(error) => {
            assert_eq!(error.persistence, Persistence::Permanent, "{error}");
            error.kind
        }
        Ok(handle) => {
            assert!(subject.engine.capabilities().schedules, "only engines that schedule tell later");
            let exit = subject.end(&handle).await;
            let Exit { failure: Some(LaunchFailure::Image(kind, detail)), code: None, .. } = &exit else {
                panic!("the image is what is wrong: {exit:?}");
            };
            assert!(!detail.is_empty());
            assert_eq!(subject.end(&handle).await, exit, "an end stays as it is");
            subject.engine.remove(&handle).await.expect("it can be removed");
            *kind
        }
    };
    assert_eq!(subject.engine.list().await.expect("a list"), Vec::new(), "nothing is left of it");
    kind
}

/// The registry does not have it.
pub async fn image_not_found(subject: &Subject) -> Verdict {
    let mut spec = subject.spec(&[Step::Exit(0)]);
    spec.image.clone_from(&subject.missing_image);
    assert_eq!(refused(subject, &spec).await, EngineErrorKind::ImageNotFound);
    Ok(())
}

fn private(subject: &Subject) -> Result<LaunchSpec, NotAsked> {
    let (image, _) = subject.private.as_ref().ok_or(Skipped("there is no registry that wants a login"))?;
    let mut spec = subject.spec(&[Step::Print("hello"), Step::Exit(0)]);
    spec.image.clone_from(image);
    // Another case may have pulled it.
    spec.pull = PullPolicy::Always;
    Ok(spec)
}

/// The registry wants a login that there is none of, or refuses the one given.
pub async fn image_wants_login(subject: &Subject) -> Verdict {
    let spec = private(subject)?;
    assert_eq!(refused(subject, &spec).await, EngineErrorKind::ImageUnauthorized);
    Ok(())
}

/// With the login it is pulled, and the password is nowhere to be seen.
pub async fn image_with_login(subject: &Subject) -> Verdict {
    let mut spec = private(subject)?;
    spec.credentials = subject.private.as_ref().map(|(_, credentials)| credentials.clone());
    let (progress, mut told) = LaunchProgress::new();
    let handle = subject.engine.ensure(&spec, &progress).await.expect("the login is right");
    assert_eq!(subject.end(&handle).await.code, Some(0));
    if subject.needs_shell().is_ok() && !subject.engine.capabilities().schedules {
        let told = told.borrow_and_update().clone();
        assert!(matches!(told, Some((WaitReason::PullingImage, _))), "{told:?}");
    }
    Ok(())
}

/// The registry does not answer: trying again can help. Engines that try by themselves say what they wait for.
pub async fn registry_unreachable(subject: &Subject) -> Verdict {
    let mut spec = subject.spec(&[Step::Exit(0)]);
    spec.image.clone_from(&subject.unreachable_image);
    match subject.engine.ensure(&spec, &LaunchProgress::new().0).await {
        Err(error) => {
            let told = (error.kind, error.persistence);
            assert_eq!(told, (EngineErrorKind::ImagePull, Persistence::Temporary), "{error}");
        }
        Ok(handle) => {
            let detail = eventually("the registry's silence is told", || waits_for_image(subject, &handle)).await;
            assert!(detail.contains(&subject.unreachable_image), "{detail}");
            subject.engine.remove(&handle).await.expect("it can be removed");
        }
    }
    assert_eq!(subject.engine.list().await.expect("a list"), Vec::new(), "nothing is left of it");
    Ok(())
}

async fn waits_for_image(subject: &Subject, handle: &Handle) -> Option<String> {
    match subject.observe(handle).await.phase {
        WorkloadPhase::Pending(WaitReason::PullingImage, detail) => Some(detail),
        WorkloadPhase::Pending(..) => None,
        other => panic!("it cannot run: {other:?}"),
    }
}

/// No image could ever have this name.
pub async fn image_invalid(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let mut spec = subject.spec(&[Step::Exit(0)]);
    spec.image = "UPPER//case::".to_owned();
    assert_eq!(refused(subject, &spec).await, EngineErrorKind::ImageInvalid);
    Ok(())
}

async fn proxied(
    subject: &Subject,
    mut spec: LaunchSpec,
    at: &[String],
) -> Result<(LaunchSpec, Option<SlowRegistry>), NotAsked> {
    let (address, _) = subject.image.split_once('/').ok_or(Skipped("the image names no registry"))?;
    let registry = SlowRegistry::in_front_of(address, at).await;
    spec.image = registry.reference(&subject.image);
    Ok((spec, Some(registry)))
}

/// The launch of an image that takes long to pull, and the registry that makes it so.
async fn slow(subject: &Subject, steps: &[Step<'_>]) -> Result<(LaunchSpec, Option<SlowRegistry>), NotAsked> {
    let mut spec = subject.spec(steps);
    spec.pull = PullPolicy::Always;
    match &subject.slow_image {
        SlowImage::None(why) => Err(*why),
        SlowImage::Named(image) => {
            spec.image.clone_from(image);
            Ok((spec, None))
        }
        SlowImage::Proxied => proxied(subject, spec, &["127.0.0.1:0".to_owned()]).await,
        SlowImage::ProxiedAt(addresses) => proxied(subject, spec, addresses).await,
    }
}

/// While an image is pulled, the launch says so; then it runs.
pub async fn slow_pull_is_told(subject: &Subject) -> Verdict {
    let (spec, registry) = slow(subject, &[Step::Print("pulled"), Step::Exit(0)]).await?;
    let (progress, mut waits) = LaunchProgress::new();
    let told = async {
        if subject.engine.capabilities().schedules {
            let handle = subject.launch(&spec).await;
            eventually("the pull is told", || waits_for_image(subject, &handle)).await;
        } else {
            let pulls = |told: &Option<(WaitReason, String)>| matches!(told, Some((WaitReason::PullingImage, _)));
            timeout(PATIENCE, waits.wait_for(pulls)).await.expect("the pull is told").expect("the launch goes on");
        }
        if let Some(registry) = &registry {
            timeout(PATIENCE, registry.asked()).await.expect("the registry is asked");
            registry.release();
        }
    };
    let (handle, ()) = tokio::join!(subject.engine.ensure(&spec, &progress), told);
    let handle = handle.expect("the launch succeeds");
    assert_eq!(subject.end(&handle).await.code, Some(0));
    Ok(())
}

/// A launch that is given up while the image is pulled leaves nothing, neither then nor when the pull ends.
pub async fn removed_while_pulling(subject: &Subject) -> Verdict {
    let (spec, registry) = slow(subject, &[Step::Print("started"), Step::Exit(0)]).await?;
    let by_name = Handle { attempt: spec.attempt, id: spec.name().to_string() };
    let asked = async {
        match &registry {
            Some(registry) => registry.asked().await,
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let progress = LaunchProgress::new().0;
    let launch = async {
        if let Ok(handle) = subject.engine.ensure(&spec, &progress).await {
            let phase = subject.observe(&handle).await.phase;
            assert!(matches!(phase, WorkloadPhase::Pending(..)), "there is no image yet: {phase:?}");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = launch => {}
        asked = timeout(PATIENCE, asked) => asked.expect("the registry is asked"),
    }
    subject.engine.stop(&by_name, Duration::from_secs(1)).await.expect("it can be stopped");
    subject.engine.remove(&by_name).await.expect("it can be removed");
    assert_eq!(subject.observe(&by_name).await.phase, WorkloadPhase::Absent);
    if let Some(registry) = &registry {
        registry.release();
    }
    assert_eq!(subject.engine.list().await.expect("a list"), Vec::new(), "nothing is left of it");
    Ok(())
}

/// What nothing has room for waits, and says so.
pub async fn no_room_is_told(subject: &Subject) -> Verdict {
    subject.needs(subject.engine.capabilities().schedules, "schedules")?;
    let mut spec = subject.spec(&[Step::Exit(0)]);
    // More than any machine has.
    (spec.resources.cpu, spec.resources.memory_mb) = (Some(4000.0), Some(64_000_000));
    let handle = subject.launch(&spec).await;
    let detail = eventually("the want of room is told", || async {
        match subject.observe(&handle).await.phase {
            WorkloadPhase::Pending(WaitReason::NoCapacity, detail) => Some(detail),
            WorkloadPhase::Pending(..) => None,
            other => panic!("it cannot run: {other:?}"),
        }
    })
    .await;
    assert!(!detail.is_empty());
    subject.engine.stop(&handle, Duration::from_secs(1)).await.expect("it can be stopped");
    subject.engine.remove(&handle).await.expect("it can be removed");
    assert_eq!(subject.engine.list().await.expect("a list"), Vec::new(), "nothing is left of it");
    Ok(())
}
