//! A run's log: a part of it on the page, the rest as it comes, the whole to be downloaded.

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{
    Answer, Visitor, Web,
    pages::{LogLine, LogView},
    run::run_id,
};
use crate::{
    api::{
        Api, Problem,
        extract::{Part, Query as ApiQuery},
        logs::{self, StreamQuery},
    },
    domain::{Run, RunId},
    logs::{LogChannel, LogPage, LogRecord},
    web::{
        format::{bytes, clock_time},
        query_escape,
        visitor::while_signed_in,
    },
};

/// How much of a log stands on a page, in bytes as it is stored.
const WINDOW: usize = 12 * 1024;
/// How much is looked through at once, and how many lines are shown of it.
const SEARCHED: usize = 4 * 1024 * 1024;
const FOUND: usize = 100;
/// How much is read at once for a download.
const CHUNK: usize = 256 * 1024;

/// Which part.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct LogQuery {
    offset: Option<u64>,
    /// Lines with this, in any case.
    q: String,
    /// Of this stream.
    stream: String,
}

/// The part that is asked for; the last one when none is.
pub(super) async fn window(api: &Api, run: &Run, query: &LogQuery) -> Result<LogView, Problem> {
    let stream = channel(&query.stream);
    let filtered = stream.is_some() || !query.q.is_empty();
    // Whatever lies behind the end counts as the end.
    let length = read(api, run.id, u64::MAX, 1).await?.next_offset;
    let tail = length.saturating_sub(WINDOW as u64);
    let from = query.offset.unwrap_or(if filtered { 0 } else { tail }).min(length);
    let size = if filtered { SEARCHED } else { WINDOW };
    let page = read(api, run.id, from, size).await?;
    // An offset inside a record counts as the beginning of the next: what is before ends where this part begins.
    let begin = page.next_offset.saturating_sub(page.bytes.len() as u64);
    let needle = query.q.to_lowercase();
    let wanted = |record: &LogRecord| {
        stream.is_none_or(|stream| record.stream == stream) && record.text.to_lowercase().contains(&needle)
    };
    let mut lines: Vec<_> = logs::records(&page).filter(wanted).map(|record| line(&record)).collect();
    let cut = filtered && lines.len() > FOUND;
    if cut {
        lines.truncate(FOUND);
    }
    let part = |offset: u64| {
        let (stream, search) = (stream.map_or("", word), query_escape(&query.q));
        format!("/runs/{}?offset={offset}&stream={stream}&q={search}#log", run.id)
    };
    let remark = match (cut, run.log.truncated) {
        (true, _) => {
            Some("These are the first hundred lines found here: search for more of the line, or download the log.")
        }
        (false, true) => Some("The log was cut, because it was larger than the service keeps."),
        (false, false) => None,
    };
    Ok(LogView {
        lines,
        next_offset: page.next_offset,
        earlier: (begin > 0).then(|| part(begin.saturating_sub(size as u64))),
        later: (page.next_offset < length).then(|| part(page.next_offset)),
        size: bytes(length),
        stream: stream.map(word),
        search: query.q.clone(),
        remark,
    })
}

async fn read(api: &Api, run: RunId, offset: u64, most: usize) -> Result<LogPage, Problem> {
    Ok(api.logs.read(run, offset, most).await?)
}

fn channel(text: &str) -> Option<LogChannel> {
    [LogChannel::Stdout, LogChannel::Stderr, LogChannel::Haulier].into_iter().find(|channel| word(*channel) == text)
}

const fn word(channel: LogChannel) -> &'static str {
    match channel {
        LogChannel::Stdout => "stdout",
        LogChannel::Stderr => "stderr",
        LogChannel::Haulier => "haulier",
    }
}

fn line(record: &LogRecord) -> LogLine {
    LogLine { time: clock_time(record.time), stream: word(record.stream), text: without_escapes(&record.text) }
}

/// Without the escape codes that colour terminals.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| ('@'..='~').contains(&c)).map_or(part.len(), |end| end + 1);
        plain.push_str(&part[end..]);
    }
    plain
}

/// Lines as they come, the same as the API gives.
pub(in crate::web) async fn stream(
    State(web): State<Web>,
    mut visitor: Visitor,
    Path(run): Path<String>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Answer {
    let run = run_id(&run)?;
    visitor.find_run(&web.api, run).await?;
    let query = ApiQuery(StreamQuery { offset: query.offset.unwrap_or(0) });
    let answer = logs::stream(State(web.api.clone()), visitor.at, Part(run), query, headers).await?.into_response();
    Ok(while_signed_in(answer, &web, visitor.secret))
}

/// All lines, to be kept.
pub(in crate::web) async fn download(State(web): State<Web>, mut visitor: Visitor, Path(run): Path<String>) -> Answer {
    visitor.at.require_runs()?;
    let (api, found) = (web.api.clone(), visitor.find_run(&web.api, run_id(&run)?).await?);
    let run = found.run.id;
    let pages = stream::try_unfold(Some(0), move |offset: Option<u64>| {
        let api = api.clone();
        async move {
            let Some(offset) = offset else { return Ok(None) };
            let page = api.logs.read(run, offset, CHUNK).await?;
            if page.bytes.is_empty() {
                return Ok::<_, crate::logs::LogError>(None);
            }
            let text = logs::records(&page).fold(String::new(), |mut text, record| {
                text.push_str(&record.text);
                if !record.partial {
                    text.push('\n');
                }
                text
            });
            Ok(Some((text, Some(page.next_offset).filter(|_| !page.end))))
        }
    });
    let name = format!("attachment; filename=\"{}-{run}.log\"", found.run.job_name);
    let mut response = Response::new(Body::from_stream(pages.boxed().map_err(std::io::Error::other)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(name).map_err(|_| Problem::not_found("run"))?);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::without_escapes;

    #[test]
    fn escape_codes_are_left_out() {
        assert_eq!(without_escapes("\u{1b}[1;31mred\u{1b}[0m and plain"), "red and plain");
        assert_eq!(without_escapes("plain [0m"), "plain [0m");
        assert_eq!(without_escapes("cut \u{1b}[3"), "cut ");
    }
}
