use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::engines::LaunchVariable;

fn spec() -> LaunchSpec {
    let mut spec = LaunchSpec {
        args: vec!["$(A) costs $5".to_owned()],
        env: vec![LaunchVariable::plain("A", "$(b) stays")],
        deadline: Duration::from_secs(3600),
        ..LaunchSpec::example_with_login("the-password")
    };
    (spec.files[1].path, spec.files[1].mode) = ("/etc/app/config.json".to_owned(), 0o644);
    spec
}

fn template() -> PodTemplateSpec {
    serde_json::from_value(json!({
        "metadata": {"labels": {"team": "data", "haulier.run": "never"}},
        "spec": {
            "nodeSelector": {"pool": "jobs"},
            "restartPolicy": "Always",
            "automountServiceAccountToken": true,
            "tolerations": [{"key": "jobs", "operator": "Exists"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "containers": [{
                "name": "job",
                "image": "never",
                "env": [{"name": "TZ", "value": "UTC"}, {"name": "A", "value": "never"}],
                "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            }],
        },
    }))
    .unwrap()
}

#[test]
fn a_launch_is_a_job_that_runs_once() {
    insta::assert_json_snapshot!(render(&spec(), &PodTemplateSpec::default(), Some("scripts")).job);
}

#[test]
fn the_template_adds_and_never_takes() {
    insta::assert_json_snapshot!(render(&spec(), &template(), None).job);
}

#[test]
fn secrets_stay_out_of_the_job() {
    let manifests = render(&spec(), &PodTemplateSpec::default(), None);
    let job = serde_json::to_string(&manifests.job).unwrap();
    for secret in ["file-content", "stays", "the-password"] {
        assert!(!job.contains(secret), "{secret}");
        assert!(!format!("{manifests:?}").contains(secret), "{secret}");
    }
    let secrets: Vec<Value> = manifests.secrets.iter().map(|secret| serde_json::to_value(secret).unwrap()).collect();
    assert_eq!(secrets[0]["data"]["env-0"], BASE64_STANDARD.encode("$(b) stays"));
    assert_eq!(secrets[0]["data"]["file-1"], BASE64_STANDARD.encode("file-content"));
    let login = BASE64_STANDARD.decode(secrets[1]["data"][".dockerconfigjson"].as_str().unwrap()).unwrap();
    let login: Value = serde_json::from_slice(&login).unwrap();
    assert_eq!(login["auths"]["registry.example.com"]["auth"], BASE64_STANDARD.encode("robot:the-password"));
    assert_eq!(secrets[1]["type"], "kubernetes.io/dockerconfigjson");
}

#[test]
fn what_is_not_asked_for_is_left_to_the_image() {
    let mut spec = spec();
    (spec.command, spec.args, spec.credentials) = (None, Vec::new(), None);
    spec.files.clear();
    spec.env.clear();
    spec.resources = Resources { cpu: None, memory_mb: None, pids: None };
    let manifests = render(&spec, &PodTemplateSpec::default(), None);
    assert!(manifests.secrets.is_empty());
    let pod = manifests.job.spec.unwrap().template.spec.unwrap();
    assert_eq!((pod.volumes, pod.image_pull_secrets, pod.service_account_name), (None, None, None));
    let container = &pod.containers[0];
    assert_eq!(
        (&container.command, &container.args, &container.env, &container.resources),
        (&None, &None, &None, &None)
    );
}

#[test]
fn files_can_be_read_by_whoever_the_image_runs_as() {
    for (asked, given) in [(0o400, 0o444), (0o644, 0o644), (0o500, 0o555), (0o600, 0o644), (0o200, 0o200)] {
        assert_eq!(readable(asked), given, "{asked:o}");
    }
}
