//! `haulier adf`: a pipeline for Azure Data Factory that runs a job.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{context::Context, exit::Usage};
use crate::domain::Name;

/// How the pipeline learns of the run's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Style {
    /// It asks until the run has ended: works everywhere
    Poll,
    /// The service calls it: needs a service that can be reached from and can reach Azure
    Callback,
    /// Data Factory follows the link in the trigger's answer: one activity
    Async,
}

/// Where the pipeline gets the token from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TokenSource {
    /// A secret in Azure Key Vault, read with the factory's managed identity
    KeyVault,
    /// A secure parameter of the pipeline
    Parameter,
    /// None: the factory's managed identity, which the service is told to trust
    ManagedIdentity,
}

/// In which form it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The pipeline's JSON: paste it into the code view of Data Factory Studio
    Pipeline,
    /// An ARM template: deploy it
    Arm,
    /// A folder for the template gallery: import it (needs --to)
    Gallery,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  haulier adf --job load-orders > pipeline.json
  haulier adf --job load-orders --style callback --token-from parameter
  haulier adf --job load-orders --format arm --key-vault https://acme.vault.azure.net")]
pub(super) struct AdfArgs {
    /// The job
    #[arg(long, value_name = "NAME")]
    job: Name,

    /// How the pipeline learns of the run's end
    #[arg(long, value_enum, default_value_t = Style::Poll)]
    style: Style,

    /// Where the pipeline gets the token from (a command of its own: it holds none)
    #[arg(long = "token-from", value_enum, default_value_t = TokenSource::KeyVault)]
    token_from: TokenSource,

    /// In which form it is written
    #[arg(long, value_enum, default_value_t = Form::Pipeline)]
    format: Form,

    /// How Data Factory reaches the service; by default --url
    #[arg(long, value_name = "URL")]
    service_url: Option<String>,

    /// The key vault's address
    #[arg(long, value_name = "URL", default_value = placeholder::KEY_VAULT)]
    key_vault: String,

    /// The name of the vault's secret that holds the token
    #[arg(long, value_name = "NAME", default_value = placeholder::SECRET)]
    secret: String,

    /// What the service is called in Entra, for --token-from managed-identity
    #[arg(long, value_name = "URI", default_value = placeholder::AUDIENCE)]
    audience: String,

    /// The pipeline's name; by default made from the job's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Write files into this folder, which must not be there yet, instead of printing
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// What stands in the templates where a value is filled in.
mod placeholder {
    pub(super) const SERVICE: &str = "https://haulier.example.com";
    pub(super) const JOB: &str = "my-job";
    pub(super) const KEY_VAULT: &str = "https://my-vault.vault.azure.net";
    pub(super) const SECRET: &str = "haulier-token";
    pub(super) const AUDIENCE: &str = "api://haulier";
}

/// The files of one template, as they are in `templates/adf/generated`.
struct Template {
    /// The name that the pipeline has in them.
    name: &'static str,
    pipeline: &'static str,
    arm: &'static str,
    gallery: &'static str,
    manifest: &'static str,
}

macro_rules! template {
    ($folder:literal, $name:literal) => {
        Template {
            name: $name,
            pipeline: include_str!(concat!("../../templates/adf/generated/", $folder, "/pipeline.json")),
            arm: include_str!(concat!("../../templates/adf/generated/", $folder, "/arm.json")),
            gallery: include_str!(concat!("../../templates/adf/generated/", $folder, "/gallery/", $name, ".json")),
            manifest: include_str!(concat!("../../templates/adf/generated/", $folder, "/gallery/manifest.json")),
        }
    };
}

const fn template(style: Style, token: TokenSource) -> Template {
    match (style, token) {
        (Style::Poll, TokenSource::KeyVault) => template!("poll-key-vault", "HaulierPoll"),
        (Style::Poll, TokenSource::Parameter) => template!("poll-parameter", "HaulierPoll"),
        (Style::Poll, TokenSource::ManagedIdentity) => template!("poll-managed-identity", "HaulierPoll"),
        (Style::Callback, TokenSource::KeyVault) => template!("callback-key-vault", "HaulierCallback"),
        (Style::Callback, TokenSource::Parameter) => template!("callback-parameter", "HaulierCallback"),
        (Style::Callback, TokenSource::ManagedIdentity) => template!("callback-managed-identity", "HaulierCallback"),
        (Style::Async, TokenSource::KeyVault) => template!("async-key-vault", "HaulierAsync"),
        (Style::Async, TokenSource::Parameter) => template!("async-parameter", "HaulierAsync"),
        (Style::Async, TokenSource::ManagedIdentity) => template!("async-managed-identity", "HaulierAsync"),
    }
}

pub(super) fn run(context: &Context, args: &AdfArgs) -> anyhow::Result<()> {
    let template = template(args.style, args.token_from);
    let service = args.service_url.as_deref().unwrap_or_else(|| context.url()).trim_end_matches('/');
    check_url("--service-url", service)?;
    check_url("--key-vault", &args.key_vault)?;
    let name = args.name.clone().unwrap_or_else(|| pipeline_name(&args.job));
    check_name(&name)?;
    let fill = |text: &str| {
        let key_vault = args.key_vault.trim_end_matches('/');
        filled(
            text,
            &[
                (placeholder::SERVICE, service),
                (placeholder::JOB, args.job.as_str()),
                (placeholder::KEY_VAULT, key_vault),
                (placeholder::SECRET, &args.secret),
                (placeholder::AUDIENCE, &args.audience),
            ],
        )
        .replace(template.name, &name)
    };
    let files = match args.format {
        Form::Pipeline => vec![(format!("{name}.json"), fill(template.pipeline))],
        Form::Arm => vec![(format!("{name}.arm.json"), fill(template.arm))],
        Form::Gallery => {
            vec![
                (format!("{name}.json"), fill(template.gallery)),
                ("manifest.json".to_owned(), fill(template.manifest)),
            ]
        }
    };
    match (&args.to, files.as_slice()) {
        (Some(folder), files) => write(folder, files)?,
        (None, [(_, text)]) => context.out.data(text.trim_end())?,
        (None, _) => return Err(Usage("a gallery template is a folder: say which with --to FOLDER".to_owned()).into()),
    }
    if service.contains("127.0.0.1") || service.contains("localhost") {
        context.out.note(format_args!(
            "note: Data Factory cannot reach {service}: give its outside address with --service-url"
        ));
    }
    Ok(())
}

/// The template with each default replaced, written as JSON text demands.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (placeholder, value)| {
        let quoted = |value: &str| serde_json::Value::from(value).to_string();
        text.replace(
            &format!("\"defaultValue\": {}", quoted(placeholder)),
            &format!("\"defaultValue\": {}", quoted(value)),
        )
    })
}

/// `load-orders` becomes `RunLoadOrders`: Data Factory wants letters, digits and underscores.
fn pipeline_name(job: &Name) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    format!("Run{}", job.as_str().split(|c: char| !c.is_ascii_alphanumeric()).map(word).collect::<String>())
}

fn check_name(name: &str) -> Result<(), Usage> {
    let fits = (1..=140).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if fits { Ok(()) } else { Err(Usage("--name has up to 140 letters, digits and underscores".to_owned())) }
}

fn check_url(option: &str, text: &str) -> Result<(), Usage> {
    let web = reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if web {
        Ok(())
    } else {
        Err(Usage(format!("{option}: {text:?} is no address: write it like https://haulier.example.com")))
    }
}

fn write(folder: &Path, files: &[(String, String)]) -> anyhow::Result<()> {
    std::fs::create_dir(folder)
        .with_context(|| format!("the folder {} cannot be made: name one that is not there yet", folder.display()))?;
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_has_each_place_once_and_stays_json() {
        for style in Style::value_variants() {
            for token in TokenSource::value_variants() {
                let template = template(*style, *token);
                for text in [template.pipeline, template.arm, template.gallery] {
                    assert!(text.contains(template.name), "{style:?} {token:?}");
                    let text = filled(
                        text,
                        &[
                            (placeholder::SERVICE, "https://h.test"),
                            (placeholder::JOB, "quoted \"job\""),
                            (placeholder::KEY_VAULT, "https://v.test"),
                            (placeholder::SECRET, "s"),
                            (placeholder::AUDIENCE, "api://a"),
                        ],
                    );
                    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                    // A gallery template has the pipeline's parameters inside of the pipeline alone.
                    let places = ["/parameters", "/properties/parameters", "/resources/0/properties/parameters"];
                    let parameters = places.iter().find_map(|at| json.pointer(at).filter(|it| !it["job"].is_null()));
                    let parameters = parameters.expect("a parameter for the job");
                    let given = |name: &str| parameters[name]["defaultValue"].as_str();
                    assert_eq!(given("job"), Some("quoted \"job\""), "{style:?} {token:?}");
                    assert_eq!(given("serviceUrl"), Some("https://h.test"));
                    let vault = (*token == TokenSource::KeyVault).then_some("https://v.test");
                    assert_eq!(given("keyVaultUrl"), vault);
                    let audience = (*token == TokenSource::ManagedIdentity).then_some("api://a");
                    assert_eq!(given("tokenAudience"), audience);
                }
            }
        }
    }

    #[test]
    fn pipelines_are_named_after_their_jobs() {
        assert_eq!(pipeline_name(&"load-orders-2".parse().unwrap()), "RunLoadOrders2");
        assert!(check_name("Run Load").is_err());
        assert!(check_name("").is_err());
    }
}
