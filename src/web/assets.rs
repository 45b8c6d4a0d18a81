//! The style sheet, the script and the icon, in the binary. Their names change with their content, so that browsers may
//! keep them for ever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};
use ring::digest;

use super::Refusal;
use crate::api::Problem;

/// Where a page finds them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assets {
    /// The style sheet.
    pub(crate) style: &'static str,
    /// The script.
    pub(crate) script: &'static str,
    /// The icon.
    pub(crate) icon: &'static str,
}

struct Asset {
    path: String,
    kind: &'static str,
    text: String,
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("static/style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("script", "js", "text/javascript; charset=utf-8", include_str!("static/script.js")));
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("static/icon.svg")));

impl Asset {
    fn new(name: &str, end: &str, kind: &'static str, source: &str) -> Self {
        // Indentation is for those who write it.
        let text = source.lines().map(str::trim_start).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let short = hash.as_ref().iter().take(6).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        Self { path: format!("/assets/{name}-{short}.{end}"), kind, text }
    }
}

impl Assets {
    /// Those of this program.
    pub(crate) fn ours() -> Self {
        Self { style: &STYLE.path, script: &SCRIPT.path, icon: &ICON.path }
    }
}

/// One of them.
pub(super) async fn serve(Path(file): Path<String>) -> Result<Response, Refusal> {
    let wanted = |asset: &&Asset| asset.path.strip_prefix("/assets/") == Some(file.as_str());
    let found = [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(wanted);
    let asset = found.ok_or_else(Problem::no_route)?;
    let headers = [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.text.as_str()).into_response())
}
