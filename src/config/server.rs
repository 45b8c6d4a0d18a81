//! How the server is reached and how it logs.

use std::net::SocketAddr;

use serde::Deserialize;

use super::{
    ConfigError, Origin,
    layers::{Given, Layers},
};

/// How the service writes its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How the server is reached and how it logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// How clients reach the server, for absolute links, without a slash at the end.
    pub public_url: Option<String>,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How the service writes its own log.
    pub log_format: LogFormat,
    /// Whether anybody who reaches the server may read its metrics.
    pub metrics_public: bool,
}

const MIN_BODY: u64 = 1024;
const MAX_BODY: u64 = 64 * 1024 * 1024;

impl ServerConfig {
    pub(super) fn resolve(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let file = &layers.file;
        let flag = layers.args.listen.clone().filter(|text| !text.is_empty());
        let listen = flag
            .map(|value| Given { value, origin: Origin::Flag("--listen", "HAULIER_LISTEN") })
            .or_else(|| layers.in_file(&file.listen))
            .unwrap_or_else(|| Given::default("127.0.0.1:8080".to_owned()));
        let public_url = layers.env("HAULIER_PUBLIC_URL").or_else(|| layers.in_file(&file.public_url));
        let max_body_bytes = file.max_body_bytes.unwrap_or(1024 * 1024);
        if !(MIN_BODY..=MAX_BODY).contains(&max_body_bytes) {
            let problem = format!("give {MIN_BODY} to {MAX_BODY} bytes");
            return Err(ConfigError::invalid("max_body_bytes", layers.file_origin(), problem));
        }
        Ok(Self {
            listen: parse_listen(listen)?,
            public_url: public_url.map(parse_public_url).transpose()?,
            max_body_bytes: usize::try_from(max_body_bytes).unwrap_or(usize::MAX),
            log_format: match layers.env("HAULIER_LOG_FORMAT") {
                Some(given) => parse_log_format(given)?,
                None => file.log_format.unwrap_or_default(),
            },
            metrics_public: file.metrics.public,
        })
    }
}

fn parse_listen(Given { value, origin }: Given<String>) -> Result<SocketAddr, ConfigError> {
    value.parse().map_err(|_| {
        let problem = format!("{value:?} is not an IP address and port: write 127.0.0.1:8080 or [::]:8080");
        ConfigError::invalid("listen", origin, problem)
    })
}

fn parse_public_url(Given { value, origin }: Given<String>) -> Result<String, ConfigError> {
    let url = reqwest::Url::parse(&value).ok().filter(|url| {
        let web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        web && plain && url.fragment().is_none()
    });
    match url {
        Some(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        None => Err(ConfigError::invalid(
            "public_url",
            origin,
            "write an http or https URL without login, query and fragment, like https://haulier.example.com",
        )),
    }
}

fn parse_log_format(Given { value, origin }: Given<String>) -> Result<LogFormat, ConfigError> {
    match value.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(ConfigError::invalid("log_format", origin, format!("{value:?} is none of text, json"))),
    }
}
