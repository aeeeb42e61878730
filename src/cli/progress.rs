//! Progress bars on a terminal, fed by the meters and the board. Elsewhere: nothing.

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::Utc;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::daemon::assemble::Services;
use crate::engine::progress::Stage;
use crate::engine::run::World;
use crate::http::meter::Meter;
use crate::model::key::SystemName;

/// How often bars are drawn anew.
const PACE: Duration = Duration::from_millis(120);

/// Bars that draw themselves until dropped.
#[derive(Debug)]
pub struct Bars {
    task: Option<JoinHandle<()>>,
    all: MultiProgress,
}

impl Bars {
    /// Shows a bar for each system of a job, the source first, if the error stream is a terminal.
    pub fn show(services: &Services, world: &World) -> Self {
        let all = MultiProgress::new();
        if !std::io::stderr().is_terminal() {
            return Self { task: None, all };
        }
        let (meters, board) = (services.kit.meters.clone(), world.board.clone());
        let targets = world.targets.iter().map(|target| target.name.clone());
        let systems: Vec<SystemName> = std::iter::once(world.source_name.clone()).chain(targets).collect();
        let width = systems.iter().map(|s| s.as_str().len()).max().unwrap_or(0);
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bars: Vec<(SystemName, ProgressBar)> = systems
            .into_iter()
            .map(|name| {
                let bar = all.add(ProgressBar::new(1)).with_style(style.clone());
                bar.set_prefix(format!("{:width$}", name.as_str()));
                (name, bar)
            })
            .collect();
        let task = tokio::spawn(async move {
            loop {
                let all = board.all();
                // The source has no stage of its own: it is read first, and asked single questions later.
                let reading = all.iter().any(|(_, at)| matches!(at.stage, Stage::Waiting | Stage::ReadingSource));
                for (name, bar) in &bars {
                    let at = all.iter().find(|(n, _)| n == name).map(|(_, at)| *at);
                    draw(bar, &meters.of(name), at, if reading { "reading" } else { "read" });
                }
                tokio::time::sleep(PACE).await;
            }
        });
        Self { task: Some(task), all }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = self.all.clear();
        }
    }
}

/// Draws one bar: steps where the stage counts steps, else requests sent of those expected.
fn draw(bar: &ProgressBar, meter: &Meter, at: Option<crate::engine::progress::Where>, source: &str) {
    let (requests, expected) = (meter.requests(), meter.expected.load(Ordering::Relaxed));
    let (done, total) = match at {
        Some(at) if at.total > 0 => (at.done, at.total),
        Some(at) if at.stage == Stage::Over => (1, 1),
        Some(_) | None => (requests, expected.max(requests)),
    };
    bar.set_length(total.max(1));
    bar.set_position(done);
    let stage = at.map_or(source, |at| at.stage.words());
    let steps = at.filter(|at| at.total > 0).map(|at| format!(" {}/{}", at.done, at.total)).unwrap_or_default();
    let of = if expected > requests { format!(" of about {expected}") } else { String::new() };
    let left = if expected > requests || at.is_some_and(|a| a.total > a.done && a.done > 0) {
        format!(", {} left", humantime::format_duration(Duration::from_secs(bar.eta().as_secs())))
    } else {
        String::new()
    };
    let waiting = meter.waiting.lock().ok().and_then(|w| w.clone()).map(|(what, until)| {
        let seconds = (until - Utc::now().timestamp_millis()).max(0) / 1000;
        format!(", waiting {seconds} s for {what}")
    });
    bar.set_message(format!("{stage}{steps}, {requests} requests{of}{left}{}", waiting.unwrap_or_default()));
}
