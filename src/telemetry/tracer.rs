//! Spans: where they stand in their trace, and how they reach the collector.

use std::{fmt, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status::StatusCode},
};
use ring::digest;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Exporter,
    exporter::{attribute, scope, value},
};
use crate::{
    background::Background,
    domain::{AttemptId, Clock, Run, RunError, Timestamp, TraceParent},
};

/// Spans that wait to be sent; more are dropped.
const QUEUE: usize = 4096;
/// How many spans are taken off the queue at a time; a message has little more.
const BATCH: usize = 512;
/// How long the first span of a message waits for others.
const LINGER: Duration = Duration::from_secs(2);
/// How long the last message may take when the service ends.
const GOODBYE: Duration = Duration::from_secs(3);

/// Makes spans, or does nothing when nobody wants them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

struct Inner {
    ratio: f64,
    spans: mpsc::Sender<Span>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("ratio", &self.ratio).finish_non_exhaustive()
    }
}

/// Where a span stands in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    trace: u128,
    span: u64,
    parent: Option<u64>,
    sampled: bool,
}

/// What kind of work a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that the service answers.
    Server,
    /// Something that it does by itself.
    Internal,
}

/// How a span ended.
#[derive(Debug)]
pub struct SpanEnd {
    /// What was done; few values.
    pub name: String,
    /// Of which kind it was.
    pub kind: SpanKind,
    /// When it began.
    pub began: Timestamp,
    /// Facts.
    pub texts: Vec<(&'static str, String)>,
    /// Facts that are numbers.
    pub numbers: Vec<(&'static str, i64)>,
    /// Why it went wrong, if it did.
    pub error: Option<String>,
}

impl SpanContext {
    /// What goes to whoever works for this span.
    #[must_use]
    pub fn traceparent(&self) -> TraceParent {
        TraceParent::new(self.trace, self.span, self.sampled)
    }
}

impl Tracer {
    /// A tracer, and the task that sends its spans to this collector. Of the traces that begin here, the share `ratio`
    /// is sent.
    #[must_use]
    pub fn start(exporter: Exporter, ratio: f64, clock: Arc<dyn Clock>) -> (Self, Background) {
        let (spans, queue) = mpsc::channel(QUEUE);
        let sender = Background::start(|stop| run(exporter, queue, stop));
        (Self(Some(Arc::new(Inner { ratio, spans, clock }))), sender)
    }

    /// Whether anybody wants spans.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The time, on the clock that spans have.
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|inner| inner.clock.now())
    }

    /// A span of a request, which goes on with its caller's trace or begins one.
    #[must_use]
    pub fn request(&self, caller: Option<&TraceParent>) -> Option<SpanContext> {
        let inner = self.0.as_ref()?;
        let span = rand::random::<u64>().max(1);
        Some(match caller {
            Some(caller) => SpanContext::below(caller, span),
            None => {
                let sampled = rand::random::<f64>() < inner.ratio;
                SpanContext { trace: rand::random::<u128>().max(1), span, parent: None, sampled }
            }
        })
    }

    /// The span of an attempt, which belongs to the trace of the run's trigger, or to one of the run's own. It is the
    /// same whichever service asks: one may launch what another ends.
    #[must_use]
    pub fn attempt(&self, run: &Run, number: u32) -> Option<SpanContext> {
        let inner = self.0.as_ref()?;
        let span = first_bytes(&format!("attempt {} {number}", run.id)).max(1);
        Some(run.traceparent.as_ref().map_or_else(
            || {
                let trace = run.id.0.as_u128();
                #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
                let share = first_bytes(&format!("sample {}", run.id)) as f64 / u64::MAX as f64;
                SpanContext { trace, span, parent: None, sampled: share < inner.ratio }
            },
            |caller| SpanContext::below(caller, span),
        ))
    }

    /// A span has ended. When too many wait, it is dropped.
    pub fn ended(&self, context: SpanContext, end: SpanEnd) {
        let Some(inner) = self.0.as_ref().filter(|_| context.sampled) else { return };
        // A queue that is full means a collector that takes nothing, of which the sender speaks.
        let (Ok(()) | Err(TrySendError::Full(_) | TrySendError::Closed(_))) =
            inner.spans.try_send(finished(context, end, inner.clock.now()));
    }

    /// An attempt has ended, as this run says.
    pub fn attempt_ended(
        &self,
        run: &Run,
        attempt: AttemptId,
        began: Timestamp,
        exit: Option<i32>,
        error: Option<&RunError>,
    ) {
        let Some(context) = self.attempt(run, attempt.number) else { return };
        let mut texts = vec![
            ("haulier.run.id", run.id.to_string()),
            ("haulier.job", run.job_name.to_string()),
            ("haulier.project.id", run.project.to_string()),
            ("haulier.engine", run.engine.clone()),
            ("haulier.run.state", run.life.state().as_str().to_owned()),
        ];
        texts.extend(error.map(|error| ("error.type", error.code.as_str().to_owned())));
        let mut numbers = vec![("haulier.attempt", i64::from(attempt.number))];
        numbers.extend(exit.map(|code| ("haulier.exit_code", i64::from(code))));
        let (name, error) = (format!("run {}", run.job_name), error.map(|error| error.message.clone()));
        self.ended(context, SpanEnd { name, kind: SpanKind::Internal, began, texts, numbers, error });
    }
}

impl SpanContext {
    fn below(caller: &TraceParent, span: u64) -> Self {
        Self { trace: caller.trace_id(), span, parent: Some(caller.parent_id()), sampled: caller.is_sampled() }
    }
}

fn first_bytes(text: &str) -> u64 {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn finished(context: SpanContext, end: SpanEnd, now: Timestamp) -> Span {
    let texts = end.texts.into_iter().map(|(key, text)| attribute(key, text));
    let numbers = end.numbers.into_iter().map(|(key, number)| value(key, Value::IntValue(number)));
    let attributes: Vec<KeyValue> = texts.chain(numbers).collect();
    let kind = match end.kind {
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Internal => span::SpanKind::Internal,
    };
    let status = end.error.map(|message| Status { message, code: StatusCode::Error.into() });
    Span {
        trace_id: context.trace.to_be_bytes().to_vec(),
        span_id: context.span.to_be_bytes().to_vec(),
        parent_span_id: context.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: 1,
        name: end.name,
        kind: kind.into(),
        start_time_unix_nano: nanos(end.began),
        end_time_unix_nano: nanos(now.max(end.began)),
        attributes,
        status,
        ..Span::default()
    }
}

/// A moment as the collector counts it.
pub(super) fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or_default().saturating_mul(1000)
}

async fn run(exporter: Exporter, mut queue: mpsc::Receiver<Span>, stop: CancellationToken) {
    loop {
        let mut batch = Vec::new();
        let gathered = stop.run_until_cancelled(gather(&mut queue, &mut batch)).await;
        if gathered != Some(true) {
            queue.close();
            while queue.recv_many(&mut batch, BATCH).await > 0 {}
        }
        // Nobody waits long for a collector that takes nothing.
        tokio::select! {
            () = send(&exporter, batch) => {}
            () = async { stop.cancelled().await; sleep(GOODBYE).await } => {}
        }
        if queue.is_closed() {
            return;
        }
    }
}

/// Spans for one message, once there is one; `false` when none comes any more.
async fn gather(queue: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> bool {
    if queue.recv_many(batch, BATCH).await == 0 {
        return false;
    }
    let others = async { while batch.len() < BATCH && queue.recv_many(batch, BATCH).await > 0 {} };
    // Those that came stay, whatever becomes of the wait.
    let _ = timeout(LINGER, others).await;
    true
}

async fn send(exporter: &Exporter, spans: Vec<Span>) {
    if spans.is_empty() {
        return;
    }
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(exporter.resource()), scope_spans, ..ResourceSpans::default() }];
    exporter.send("v1/traces", &ExportTraceServiceRequest { resource_spans }).await;
}
