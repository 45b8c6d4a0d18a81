//! Lists over all their pages.

use clap::Args;

use super::output::Output;
use crate::{api::types::Page, client::ClientError};

/// How many entries.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Limit {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,
}

impl Limit {
    /// The entries of all pages, up to the limit. Says so when there are more.
    pub(super) async fn collect<T>(
        self,
        out: Output,
        next: impl AsyncFn(Option<&str>) -> Result<Page<T>, ClientError>,
    ) -> Result<Vec<T>, ClientError> {
        let most = self.limit as usize;
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = next(cursor.as_deref()).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if items.len() > most || (items.len() == most && cursor.is_some()) {
                items.truncate(most);
                out.note(format_args!("there are more: see --limit (now {most})"));
                return Ok(items);
            }
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }
}

/// The entries of all pages, however many.
pub(super) async fn all<T>(
    next: impl AsyncFn(Option<&str>) -> Result<Page<T>, ClientError>,
) -> Result<Vec<T>, ClientError> {
    let (mut items, mut cursor): (_, Option<String>) = (Vec::new(), None);
    loop {
        let page = next(cursor.as_deref()).await?;
        items.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(items);
        }
    }
}
