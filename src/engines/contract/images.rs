//! Images that cannot be had, and one that can with a login.

use super::{Skipped, Step, Subject, Verdict};
use crate::{
    domain::WaitReason,
    engines::{EngineError, EngineErrorKind, LaunchProgress, LaunchSpec, Persistence, PullPolicy},
};

async fn refused(subject: &Subject, spec: &LaunchSpec) -> EngineError {
    let refused = subject.engine.ensure(spec, &LaunchProgress::new().0).await.expect_err("there is no such image");
    assert_eq!(subject.engine.list().await.expect("a list"), Vec::new(), "nothing is left of it");
    refused
}

/// The registry does not have it.
pub async fn image_not_found(subject: &Subject) -> Verdict {
    let mut spec = subject.spec(&[Step::Exit(0)]);
    spec.image.clone_from(&subject.missing_image);
    let error = refused(subject, &spec).await;
    assert_eq!((error.kind, error.persistence), (EngineErrorKind::ImageNotFound, Persistence::Permanent), "{error}");
    Ok(())
}

fn private(subject: &Subject) -> Result<LaunchSpec, Skipped> {
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
    let error = refused(subject, &spec).await;
    let expected = (EngineErrorKind::ImageUnauthorized, Persistence::Permanent);
    assert_eq!((error.kind, error.persistence), expected, "{error}");
    Ok(())
}

/// With the login it is pulled, and the password is nowhere to be seen.
pub async fn image_with_login(subject: &Subject) -> Verdict {
    let mut spec = private(subject)?;
    spec.credentials = subject.private.as_ref().map(|(_, credentials)| credentials.clone());
    let (progress, mut told) = LaunchProgress::new();
    let handle = subject.engine.ensure(&spec, &progress).await.expect("the login is right");
    assert_eq!(subject.end(&handle).await.code, Some(0));
    if subject.needs_shell().is_ok() {
        let told = told.borrow_and_update().clone();
        assert!(matches!(told, Some((WaitReason::PullingImage, _))), "{told:?}");
    }
    Ok(())
}

/// The registry does not answer: trying again can help.
pub async fn registry_unreachable(subject: &Subject) -> Verdict {
    let mut spec = subject.spec(&[Step::Exit(0)]);
    spec.image.clone_from(&subject.unreachable_image);
    let error = refused(subject, &spec).await;
    assert_eq!((error.kind, error.persistence), (EngineErrorKind::ImagePull, Persistence::Temporary), "{error}");
    Ok(())
}

/// No image could ever have this name.
pub async fn image_invalid(subject: &Subject) -> Verdict {
    subject.needs_shell()?;
    let mut spec = subject.spec(&[Step::Exit(0)]);
    spec.image = "UPPER//case::".to_owned();
    let error = refused(subject, &spec).await;
    assert_eq!((error.kind, error.persistence), (EngineErrorKind::ImageInvalid, Persistence::Permanent), "{error}");
    Ok(())
}
