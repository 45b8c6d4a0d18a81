//! `haulier health`: what health checks of containers run, where there is no other program that speaks HTTP.

use secrecy::SecretString;

use super::context::Context;
use crate::client::Client;

pub(super) async fn run(context: &Context) -> anyhow::Result<()> {
    Ok(Client::new(context.url(), SecretString::default(), None)?.probe("/healthz").await?)
}
