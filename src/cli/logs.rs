//! `haulier logs`: a run's log.

use std::io::{self, Write};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use futures::TryStreamExt;

use super::{context::Context, output::Output};
use crate::{
    domain::RunId,
    logs::{LogChannel, LogRecord},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Stdout gets the script's stdout, stderr the rest; with --stream, stdout gets that stream. With --output json, one record a \
line.")]
pub(super) struct LogsArgs {
    /// The run's id
    run: RunId,

    /// Go on until the run has ended
    #[arg(short, long)]
    follow: bool,

    /// Only this stream
    #[arg(long, value_enum)]
    stream: Option<Stream>,

    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stream {
    /// The script's standard output
    Stdout,
    /// The script's standard error
    Stderr,
    /// Haulier itself
    Haulier,
}

impl From<Stream> for LogChannel {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
            Stream::Haulier => Self::Haulier,
        }
    }
}

pub(super) async fn run(context: &Context, args: LogsArgs) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    let only = args.stream.map(LogChannel::from);
    let mut records = std::pin::pin!(client.log_records(args.run, args.follow));
    // A record that goes on another one's line gets no time of its own.
    let mut begun = false;
    while let Some(mut record) = records.try_next().await.with_context(|| format!("run {}", args.run))? {
        if only.is_some_and(|only| only != record.stream) {
            continue;
        }
        if out.is_json() {
            out.json_line(&record)?;
            continue;
        }
        let partial = record.partial;
        if args.timestamps && !begun {
            record.text = format!("{} {}", record.time, record.text);
        }
        begun = partial;
        if only.is_some() { out.raw(&line(&record))? } else { print_apart(out, &record, false)? }
    }
    Ok(())
}

/// The script's stdout to stdout (or to stderr, when stdout is taken), the rest to stderr.
pub(super) fn print_apart(out: Output, record: &LogRecord, stdout_is_taken: bool) -> io::Result<()> {
    match record.stream {
        LogChannel::Stdout if !stdout_is_taken => out.raw(&line(record)),
        LogChannel::Stdout | LogChannel::Stderr => io::stderr().lock().write_all(&line(record)),
        LogChannel::Haulier => {
            out.note(format_args!("haulier: {}", record.text));
            Ok(())
        }
    }
}

fn line(record: &LogRecord) -> Vec<u8> {
    let mut line = record.text.clone().into_bytes();
    if !record.partial {
        line.push(b'\n');
    }
    line
}
