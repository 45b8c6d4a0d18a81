//! `haulier openapi`: the API's own description.

use super::context::Context;

pub(super) fn run(context: &Context) -> anyhow::Result<()> {
    context.out.json(&crate::api::document())?;
    Ok(())
}
