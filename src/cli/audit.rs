//! `haulier audit`: who changed what.

use clap::Args;
use comfy_table::Cell;

use super::{context::Context, pages::Limit, text::time};

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Changes of the whole installation, like its tokens and master keys, instead of the project's
    #[arg(long)]
    instance: bool,

    #[command(flatten)]
    limit: Limit,
}

pub(super) async fn run(context: &Context, args: AuditArgs) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    let entries = args.limit.collect(out, async |cursor| client.audit(args.instance, cursor).await).await?;
    out.list("changes", &entries, &["TIME", "BY", "ACTION", "TARGET"], |entry| {
        vec![Cell::new(time(entry.at)), Cell::new(&entry.actor), Cell::new(&entry.action), Cell::new(&entry.target)]
    })?;
    Ok(())
}
