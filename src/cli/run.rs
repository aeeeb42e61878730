//! `rosterd run`: the daemon.

use std::sync::{Arc, PoisonError};

use super::Arguments;
use super::exit::{Exit, Failure};
use super::stage::{Stage, runtime};
use crate::config::log::{LogFormat, Rotation};
use crate::daemon::assemble::tokens;
use crate::daemon::condition::SharedCondition;
use crate::daemon::http;
use crate::daemon::metrics::Metrics;
use crate::daemon::orders::orders;
use crate::daemon::presence::Presence;
use crate::daemon::signals::{self, Signals};
use crate::daemon::supervise::Daemon;
use crate::daemon::telemetry::{Files, Format, LogSettings, Rotate, Telemetry};
use crate::daemon::traces::Traces;
use crate::engine::progress::Listener;
use crate::store::Access;

/// Runs the daemon until told to stop.
///
/// # Errors
/// What keeps it from starting.
pub fn command(arguments: &Arguments) -> Result<Exit, Failure> {
    signals::arm().map_err(|e| Failure::new(Exit::Failed, format!("signals cannot be handled: {e}")))?;
    let stage = Stage::load(arguments)?;
    // Held here, outside the runtime: what it still has to write is written when this function returns.
    let telemetry =
        Telemetry::start(&log_settings(&stage.config.log)).map_err(|e| Failure::new(Exit::Configuration, e.to_string()))?;
    let telemetry = Arc::new(telemetry);
    let runtime = runtime()?;
    let result = runtime.block_on(serve(stage, telemetry.clone()));
    // Whatever is still blocked in a call at the drain's deadline does not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    result
}

async fn serve(stage: Stage, telemetry: Arc<Telemetry>) -> Result<Exit, Failure> {
    let file = stage.file.clone();
    let signals = Signals::listen().map_err(|e| Failure::new(Exit::Failed, format!("signals cannot be handled: {e}")))?;
    let journal = stage.journal(Access::Write).await?;
    let tokens = tokens(&stage.config, &stage.kit)?;
    let listen = stage.config.daemon.listen;
    let (assembly, services) = stage.assemble(journal.clone())?;
    let metrics = Arc::new(Metrics::new(services.clock.now()));
    let traces = Traces::start(&assembly.config, &services.kit)?;
    let heard = traces.iter().map(|traces| traces.clone() as Arc<dyn Listener>);
    services.board.listen(heard.chain([metrics.clone() as Arc<dyn Listener>]).collect());
    let condition = SharedCondition::default();
    condition.lock().unwrap_or_else(PoisonError::into_inner).tokens = tokens;
    let (order, orders) = orders();
    if let Some(address) = listen {
        let hint = "another process may have it; write another address, or daemon.listen = \"off\"";
        let listener = http::bind(address).await.map_err(|e| Failure::new(Exit::Failed, e.to_string()).hint(hint))?;
        let services = http::Services {
            condition: condition.clone(),
            journal,
            clock: services.clock.clone(),
            orders: order.clone(),
            metrics,
            meters: services.kit.meters.clone(),
        };
        let view = http::View::new(services, !address.ip().is_loopback());
        if let Some(listener) = listener {
            tokio::spawn(http::serve(listener, view));
        }
    }
    let presence = Presence::show(services.journal.clone(), services.clock.clone(), services.holder.clone());
    let daemon = Daemon { file, services, assembly, telemetry: Some(telemetry), condition };
    let ended = daemon.run(orders, Some(signals)).await;
    presence.end().await;
    if let Some(traces) = traces {
        traces.stop().await;
    }
    ended.map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    Ok(Exit::Done)
}

fn log_settings(log: &crate::config::log::Log) -> LogSettings {
    LogSettings {
        level: log.level.clone(),
        format: match log.format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        },
        files: log.file.as_ref().map(|f| Files {
            directory: f.directory.clone(),
            rotate: match f.rotate {
                Rotation::Daily => Rotate::Daily,
                Rotation::Hourly => Rotate::Hourly,
                Rotation::Weekly => Rotate::Weekly,
                Rotation::Never => Rotate::Never,
            },
            keep: f.keep,
        }),
    }
}
