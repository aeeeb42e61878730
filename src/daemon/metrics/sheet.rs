//! The figures of one answer: set once, written, and forgotten.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts};

use super::catalogue::{Metric, Sort};

/// A sheet to write figures on.
#[derive(Default)]
pub(super) struct Sheet {
    gauges: BTreeMap<&'static str, GaugeVec>,
    counters: BTreeMap<&'static str, CounterVec>,
}

impl Sheet {
    /// Writes a figure.
    pub(super) fn set(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        let options = || Opts::new(metric.name, metric.help);
        match metric.sort {
            Sort::Gauge => {
                let new = || GaugeVec::new(options(), metric.labels).expect("the catalogue's names are valid");
                self.gauges.entry(metric.name).or_insert_with(new).with_label_values(labels).set(value);
            }
            // It was counted elsewhere: here it is new each time.
            Sort::Counter => {
                let new = || CounterVec::new(options(), metric.labels).expect("the catalogue's names are valid");
                self.counters.entry(metric.name).or_insert_with(new).with_label_values(labels).inc_by(value.max(0.0));
            }
            Sort::Histogram => debug_assert!(false, "{} is filled as it happens", metric.name),
        }
    }

    /// Writes yes or no.
    pub(super) fn flag(&mut self, metric: &Metric, labels: &[&str], is: bool) {
        self.set(metric, labels, f64::from(u8::from(is)));
    }

    /// Writes a time, if there is one.
    pub(super) fn at(&mut self, metric: &Metric, labels: &[&str], at: Option<DateTime<Utc>>) {
        if let Some(at) = at {
            self.set(metric, labels, at.timestamp_millis() as f64 / 1000.0);
        }
    }

    pub(super) fn families(self) -> Vec<MetricFamily> {
        let gauges = self.gauges.into_values().flat_map(|gauge| gauge.collect());
        gauges.chain(self.counters.into_values().flat_map(|counter| counter.collect())).collect()
    }
}
