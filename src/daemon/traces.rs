//! Traces, for whoever has a collector: each run a trace, each of its stages a span.
//!
//! They are made of what is heard at the board once a run is over, and of nothing else: no code of a run knows of them, and
//! a run takes no longer for them. They are sent by a thread of their own, from a queue that has an end; what does not fit, or
//! what the collector does not take, is lost. Names are those of the configuration, and nothing in them is about a person.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span, SpanBuilder, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider};

use super::assemble::AssembleError;
use crate::config::Config;
use crate::contract::journal::{Ended, RunEnd, RunStart};
use crate::contract::settings::SettingsError;
use crate::engine::progress::{Listener, Stage};
use crate::http::collector::Collector;
use crate::http::kind::Kit;
use crate::model::change::OpKind;
use crate::model::key::{JobName, SystemName};

/// How many spans wait at the most.
const QUEUE: usize = 4096;
/// How long a span waits for others to go with it.
const DELAY: Duration = Duration::from_secs(2);
/// How long one message may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stopping daemon sends what waits.
const FAREWELL: Duration = Duration::from_secs(2);
/// More stages than this no run has.
const MOST: usize = 64;

type Stages = BTreeMap<(JobName, SystemName), Vec<(Stage, Duration)>>;

/// Makes traces and sends them.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    stages: Mutex<Stages>,
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Traces")
    }
}

impl Traces {
    /// Begins to send to the collector that the configuration names; `None`: it names none. To be called within the runtime.
    ///
    /// # Errors
    /// A token that cannot be read, a client that cannot be built.
    pub fn start(config: &Config, kit: &Kit) -> Result<Option<Arc<Self>>, AssembleError> {
        let Some(written) = &config.telemetry else { return Ok(None) };
        let failed = |why: String| AssembleError { what: "the export of traces (telemetry.otlp)".to_owned(), why };
        let token = written.token.as_ref().map(|token| kit.secrets.read("telemetry.token", token)).transpose();
        let token = token.map_err(|error: SettingsError| failed(error.to_string()))?;
        let collector = Collector::new(&written.otlp, token, TIMEOUT, &kit.secrets).map_err(|error| failed(error.to_string()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", written.otlp.as_str().trim_end_matches('/')))
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let batches = BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_scheduled_delay(DELAY).build();
        let about = Resource::builder_empty()
            .with_service_name("rosterd")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_resource(about)
            .build();
        let tracer = provider.tracer("rosterd");
        Ok(Some(Arc::new(Self { provider, tracer, stages: Mutex::default() })))
    }

    /// Sends what waits, for a moment at the most.
    pub async fn stop(&self) {
        let provider = self.provider.clone();
        let sent = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FAREWELL));
        if !matches!(tokio::time::timeout(FAREWELL + Duration::from_millis(500), sent).await, Ok(Ok(Ok(())))) {
            tracing::warn!("the last traces could not be sent in time");
        }
    }

    fn taken(&self, start: &RunStart) -> Vec<(Stage, Duration)> {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.remove(&(start.job.clone(), start.target.clone())).unwrap_or_default()
    }
}

impl Listener for Traces {
    fn source_read(&self, _source: &SystemName) {}

    fn stage_over(&self, job: &JobName, target: &SystemName, stage: Stage, took: Duration) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let of_run = stages.entry((job.clone(), target.clone())).or_default();
        // A run begins by waiting; one that was then not begun has left its own here.
        if stage == Stage::Waiting || of_run.len() >= MOST {
            of_run.clear();
        }
        of_run.push((stage, took));
    }

    fn changed(&self, _job: &JobName, _target: &SystemName, _kind: OpKind, _outcome: &'static str) {}

    /// Stages follow each other without a gap, so their times are counted back from the end of the run.
    fn run_over(&self, start: &RunStart, end: &RunEnd) {
        let mut ends = SystemTime::from(end.at);
        let mut spans: Vec<(Stage, SystemTime, SystemTime)> = Vec::new();
        for (stage, took) in self.taken(start).into_iter().rev() {
            let begins = ends.checked_sub(took).unwrap_or(ends);
            spans.push((stage, begins, ends));
            ends = begins;
        }
        let begins = SystemTime::from(start.at).min(ends);
        let mut run = self.tracer.build_with_context(
            SpanBuilder::from_name("run").with_start_time(begins).with_attributes(attributes(start, end)),
            &Context::new(),
        );
        if end.ended == Ended::Failed {
            // Why it failed may name somebody: `rosterd show` tells.
            run.set_status(Status::error("the run failed"));
        }
        let parent = Context::new().with_remote_span_context(run.span_context().clone());
        for (stage, begins, ends) in spans.into_iter().rev() {
            let builder = SpanBuilder::from_name(stage.word()).with_start_time(begins);
            self.tracer.build_with_context(builder, &parent).end_with_timestamp(ends);
        }
        run.end_with_timestamp(SystemTime::from(end.at));
    }
}

fn attributes(start: &RunStart, end: &RunEnd) -> Vec<KeyValue> {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let done: u64 = end.done.iter().map(|(_, many)| many).sum();
    vec![
        KeyValue::new("rosterd.job.name", start.job.to_string()),
        KeyValue::new("rosterd.target.name", start.target.to_string()),
        KeyValue::new("rosterd.run.id", start.id.to_string()),
        KeyValue::new("rosterd.run.ended", end.ended.word()),
        KeyValue::new("rosterd.changes.done", count(done)),
        KeyValue::new("rosterd.changes.failed", count(end.failed)),
        KeyValue::new("rosterd.changes.staged", count(end.staged)),
        KeyValue::new("rosterd.requests", count(end.requests)),
    ]
}
