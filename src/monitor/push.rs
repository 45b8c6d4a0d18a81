//! Sending metrics to a collector, again and again.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Scraper;
use crate::{background::Background, telemetry::Exporter};

/// How long the last message may take when the service ends.
const GOODBYE: Duration = Duration::from_secs(3);

/// Sends what a scraper would read, for as long as it lives.
#[derive(Debug)]
pub struct MetricsPush(Background);

impl MetricsPush {
    /// Begins to send, with this time between two messages.
    #[must_use]
    pub fn start(scraper: Arc<Scraper>, exporter: Exporter, every: Duration) -> Self {
        Self(Background::start(|stop| run(scraper, exporter, every, stop)))
    }

    /// Sends a last time, and stops.
    pub async fn shutdown(self) {
        self.0.shutdown("sending metrics").await;
    }
}

async fn run(scraper: Arc<Scraper>, exporter: Exporter, every: Duration, stop: CancellationToken) {
    let mut times = interval(every);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(times.tick()).await.is_some() {
        // Cut off when the service ends: nobody waits long for a collector that takes nothing.
        let _ = stop.run_until_cancelled(push(&scraper, &exporter)).await;
    }
    let _ = timeout(GOODBYE, push(&scraper, &exporter)).await;
}

async fn push(scraper: &Scraper, exporter: &Exporter) {
    match scraper.otlp(exporter).await {
        Ok(metrics) => exporter.send("v1/metrics", &metrics).await,
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "metrics could not be read to be sent"),
    }
}
