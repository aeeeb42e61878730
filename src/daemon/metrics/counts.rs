//! What is counted as it happens.

use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::catalogue::{CHANGES, Metric, RUN_SECONDS, RUNS, STAGE_SECONDS};
use crate::config::Config;
use crate::contract::journal::{Ended, Outcome, RunEnd, RunStart};
use crate::engine::progress::Stage;
use crate::model::change::OpKind;
use crate::model::key::{JobName, SystemName};

/// From a small site's tenth of a second to a large one under a narrow limit.
const SECONDS: [f64; 10] = [0.1, 0.5, 2.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];

/// The counters.
pub(super) struct Counts {
    registry: Registry,
    runs: IntCounterVec,
    run_seconds: HistogramVec,
    stage_seconds: HistogramVec,
    changes: IntCounterVec,
}

impl Counts {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        Self {
            runs: counter(&registry, &RUNS),
            run_seconds: histogram(&registry, &RUN_SECONDS),
            stage_seconds: histogram(&registry, &STAGE_SECONDS),
            changes: counter(&registry, &CHANGES),
            registry,
        }
    }

    pub(super) fn run(&self, start: &RunStart, end: &RunEnd) {
        let (job, target) = (start.job.as_str(), start.target.as_str());
        self.runs.with_label_values(&[job, target, end.ended.word()]).inc();
        let took = (end.at - start.at).to_std().unwrap_or_default();
        self.run_seconds.with_label_values(&[job, target]).observe(took.as_secs_f64());
    }

    pub(super) fn stage(&self, job: &JobName, target: &SystemName, stage: Stage, took: Duration) {
        let labels = [job.as_str(), target.as_str(), stage.word()];
        self.stage_seconds.with_label_values(&labels).observe(took.as_secs_f64());
    }

    pub(super) fn change(&self, job: &JobName, target: &SystemName, kind: OpKind, outcome: &'static str) {
        self.changes.with_label_values(&[job.as_str(), target.as_str(), kind.word(), outcome]).inc();
    }

    /// Begins every count of the configuration at zero: a rate over what was not there before its first event misses that.
    pub(super) fn begin(&self, config: &Config) {
        for (job, target) in config.jobs.iter().flat_map(|(name, job)| job.targets.iter().map(move |target| (name, target))) {
            let (job, target) = (job.as_str(), target.as_str());
            Ended::ALL.iter().for_each(|ended| drop(self.runs.with_label_values(&[job, target, ended.word()])));
            drop(self.run_seconds.with_label_values(&[job, target]));
            Stage::ALL.iter().for_each(|stage| drop(self.stage_seconds.with_label_values(&[job, target, stage.word()])));
            for kind in OpKind::ALL {
                Outcome::WORDS.iter().for_each(|word| drop(self.changes.with_label_values(&[job, target, kind.word(), word])));
            }
        }
    }

    pub(super) fn families(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

fn counter(registry: &Registry, metric: &Metric) -> IntCounterVec {
    let counter =
        IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels).expect("the catalogue's names are valid");
    registry.register(Box::new(counter.clone())).expect("each is registered once");
    counter
}

fn histogram(registry: &Registry, metric: &Metric) -> HistogramVec {
    let options = HistogramOpts::new(metric.name, metric.help).buckets(SECONDS.to_vec());
    let histogram = HistogramVec::new(options, metric.labels).expect("the catalogue's names are valid");
    registry.register(Box::new(histogram.clone())).expect("each is registered once");
    histogram
}
