//! Traces and metrics for an OpenTelemetry collector, over OTLP/HTTP as protobuf.
//!
//! Spans are made by hand and at their end, not by a layer of the log: a span of an attempt lasts for hours, its id is in
//! the script's hands, and the service that ends it need not be the one that began it. So ids of attempts follow from
//! the run, and nothing is held in between. Metrics are the instruments that `/metrics` has, converted when they are sent.

mod convert;
mod exporter;
mod settings;
mod tracer;

pub use convert::converted;
pub use exporter::Exporter;
pub use settings::TelemetrySettings;
pub use tracer::{SpanContext, SpanEnd, SpanKind, Tracer};
