//! Notices by mail.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::digest::Digest;
use crate::{
    callbacks::TargetPolicy,
    domain::{EmailSpec, MailTls},
};

/// How long each exchange with the mail server may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends a message to all who receive.
///
/// # Errors
/// Why it could not be sent, for people.
pub(super) async fn send(
    spec: &EmailSpec,
    password: &SecretString,
    policy: &TargetPolicy,
    digest: &Digest,
    delivery: Uuid,
) -> Result<(), String> {
    let message = message(spec, digest, delivery)?;
    let address = policy.addresses(&spec.host, spec.port()).await?;
    let address = address.first().ok_or("the mail server has no address")?;
    crate::install_crypto();
    // The address that was permitted is the one that is used; certificates are checked for the name.
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
        .port(spec.port())
        .timeout(Some(TIMEOUT))
        .tls(tls(spec)?);
    let builder = match &spec.username {
        Some(username) => builder.credentials(Credentials::new(username.clone(), password.expose_secret().to_owned())),
        None => builder,
    };
    match tokio::time::timeout(3 * TIMEOUT, builder.build().send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(in_words(&error)),
        Err(_) => Err("the mail server took too long".to_owned()),
    }
}

fn tls(spec: &EmailSpec) -> Result<Tls, String> {
    if spec.tls == MailTls::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(spec.host.clone());
    if let Some(pem) = &spec.ca_certificate {
        let certificate = Certificate::from_pem(pem.as_bytes());
        parameters = parameters.add_root_certificate(certificate.map_err(|_| "ca_certificate is no PEM certificate")?);
    }
    let parameters = parameters.build().map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(if spec.tls == MailTls::Implicit { Tls::Wrapper(parameters) } else { Tls::Required(parameters) })
}

fn message(spec: &EmailSpec, digest: &Digest, delivery: Uuid) -> Result<Message, String> {
    let mailbox = |text: &str| {
        text.parse::<Mailbox>().map_err(|_| format!("{text} is no mail address: write it like ops@example.com"))
    };
    let mut builder = Message::builder()
        .from(mailbox(&spec.from)?)
        .subject(digest.title.clone())
        // The same in every try, so that mail programs show it once.
        .message_id(Some(format!("<{delivery}@haulier>")))
        .header(ContentType::TEXT_PLAIN);
    for to in &spec.to {
        builder = builder.to(mailbox(to)?);
    }
    builder.body(digest.text()).map_err(|error| format!("the mail cannot be made: {error}"))
}

/// What the server said, or why it said nothing.
fn in_words(error: &lettre::transport::smtp::Error) -> String {
    format!("the mail could not be sent: {error}").chars().take(500).collect()
}
