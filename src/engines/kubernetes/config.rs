//! How a cluster is reached, and what all its pods have in common.

use std::{fs, path::PathBuf};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::config::Kubeconfig;
use serde::Deserialize;
use serde_json::Value;

use super::render::CONTAINER;
use crate::engines::{EngineError, EngineErrorKind, Persistence};

/// How a Kubernetes cluster is reached and used.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesConfig {
    /// The kubeconfig to use. Default: `KUBECONFIG` or `~/.kube/config` where there is one, else the service account
    /// of the pod that Haulier runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context. Default: its current one.
    pub context: Option<String>,
    /// Where the jobs are made. Default: the context's namespace, or that of Haulier's own pod.
    pub namespace: Option<String>,
    /// The service account that scripts run as. It gets no token unless `pod_template` says so. Default: the namespace's
    /// own.
    pub service_account: Option<String>,
    /// What every pod has besides what its run asks for: node selector, tolerations, security context, labels. A pod
    /// template as Kubernetes knows it; where both say something, the run counts. What is said of a container named
    /// `job` is said of the script's own.
    pub pod_template: Option<toml::Table>,
    /// The same, as a YAML file. Only one of both may be given.
    pub pod_template_file: Option<PathBuf>,
}

/// Where the credentials are.
#[derive(Clone)]
pub(super) enum Access {
    /// In this kubeconfig.
    Kubeconfig(Box<Kubeconfig>),
    /// In the pod that this process runs in.
    InCluster,
}

impl KubernetesConfig {
    pub(super) fn access(&self) -> Result<Access, EngineError> {
        let read = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => match Kubeconfig::read() {
                Err(_) if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => return Ok(Access::InCluster),
                read => read,
            },
        };
        read.map(|kubeconfig| Access::Kubeconfig(Box::new(kubeconfig))).map_err(|error| {
            let text = format!("{error}: name a kubeconfig that this process can read, or run it inside the cluster");
            invalid(text).caused_by(error)
        })
    }

    /// The pod template, checked.
    pub(super) fn template(&self) -> Result<PodTemplateSpec, EngineError> {
        let written: Value = match (&self.pod_template, &self.pod_template_file) {
            (None, None) => return Ok(PodTemplateSpec::default()),
            (Some(_), Some(_)) => {
                return Err(invalid("pod_template and pod_template_file are both given: leave one out"));
            }
            (Some(table), None) => {
                serde_json::to_value(table).map_err(|error| invalid(format!("pod_template: {error}")))?
            }
            (None, Some(path)) => {
                let file = path.display();
                let text = fs::read_to_string(path).map_err(|error| invalid(format!("{file}: {error}")))?;
                serde_saphyr::from_str(&text).map_err(|error| invalid(format!("{file}: {error}")))?
            }
        };
        let template: PodTemplateSpec = serde_json::from_value(written.clone())
            .map_err(|error| invalid(format!("pod_template is no pod template: {error}")))?;
        let known = serde_json::to_value(&template).unwrap_or_default();
        if let Some(path) = unknown(&written, &known) {
            return Err(invalid(format!("pod_template: Kubernetes has no field {path} there: correct it")));
        }
        let containers = template.spec.iter().flat_map(|spec| &spec.containers);
        if let Some(other) = containers.map(|container| &container.name).find(|name| *name != CONTAINER) {
            return Err(invalid(format!(
                "pod_template: a container {other} would go on when the script has ended: only `{CONTAINER}` may be there"
            )));
        }
        Ok(template)
    }
}

/// The first member that was written and not understood.
fn unknown(written: &Value, known: &Value) -> Option<String> {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            written.iter().find_map(|(name, value)| match known.get(name) {
                None if value.is_null() => None,
                None => Some(name.clone()),
                Some(known) => unknown(value, known).map(|rest| format!("{name}.{rest}")),
            })
        }
        (Value::Array(written), Value::Array(known)) => {
            written.iter().zip(known).find_map(|(written, known)| unknown(written, known))
        }
        _ => None,
    }
}

fn invalid(text: impl Into<String>) -> EngineError {
    EngineError::new(EngineErrorKind::Rejected, Persistence::Permanent, "read the settings", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<PodTemplateSpec, String> {
        let config = KubernetesConfig { pod_template: Some(toml::from_str(text).unwrap()), ..Default::default() };
        config.template().map_err(|error| error.detail)
    }

    #[test]
    fn a_template_is_understood_whole_or_refused() {
        let good = template("spec.nodeSelector = { pool = 'jobs' }\nspec.containers = [{ name = 'job' }]").unwrap();
        assert_eq!(good.spec.unwrap().node_selector.unwrap()["pool"], "jobs");
        let wrong = template("spec.nodeSelectr = { pool = 'jobs' }").unwrap_err();
        assert!(wrong.contains("spec.nodeSelectr"), "{wrong}");
        let wrong = template("spec.containers = [{ name = 'proxy' }]").unwrap_err();
        assert!(wrong.contains("proxy"), "{wrong}");
        assert!(template("spec = 3").is_err());
    }
}
