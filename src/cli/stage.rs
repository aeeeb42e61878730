//! What commands stand on: the configuration as loaded, the state store, a runtime.

use std::path::PathBuf;
use std::sync::Arc;

use super::Arguments;
use super::exit::{Exit, Failure};
use crate::config::{Config, locate};
use crate::contract::journal::Journal;
use crate::daemon::assemble::{Assembly, Services, assemble, kit, load};
use crate::daemon::telemetry::{Telemetry, for_command};
use crate::http::kind::Kit;
use crate::store::{self, Access};

/// What a command stands on.
pub struct Stage {
    /// The configuration's file.
    pub file: PathBuf,
    /// The configuration.
    pub config: Config,
    /// What connectors are handed.
    pub kit: Kit,
}

/// The configuration's file for these arguments.
pub fn file(arguments: &Arguments) -> PathBuf {
    // `--config` and the variable are one argument to clap already.
    let named = arguments.config.clone().filter(|file| !file.as_os_str().is_empty());
    locate::locate(named, None, &|path| path.exists())
}

impl Stage {
    /// Loads the configuration. Warnings go to the error stream.
    ///
    /// # Errors
    /// A configuration that is wrong.
    pub fn load(arguments: &Arguments) -> Result<Self, Failure> {
        let file = file(arguments);
        if !file.exists() && locate::PLACES.map(PathBuf::from).contains(&file) {
            let places = locate::PLACES.join(" nor ");
            return Err(Failure::new(Exit::Configuration, format!("there is no configuration: neither {places} is there"))
                .hint("`rosterd init` writes one; --config FILE or $ROSTERD_CONFIG names one elsewhere"));
        }
        let kit = kit();
        let checked = load(&file, &kit)?;
        for warning in &checked.warnings {
            eprintln!("{}", warning.render(super::output::color_on_stderr()).trim_end());
        }
        Ok(Self { file, config: checked.config, kit })
    }

    /// Opens the state store.
    ///
    /// # Errors
    /// A store that cannot be opened: exit code 1, with what to do.
    pub async fn journal(&self, access: Access) -> Result<Arc<dyn Journal>, Failure> {
        store::open_for(&self.config.daemon.state, access).await.map_err(|e| {
            let failure = Failure::new(Exit::Failed, e.to_string());
            match e.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })
    }

    /// Puts the assembly together over a store.
    ///
    /// # Errors
    /// What cannot be built.
    pub fn assemble(self, journal: Arc<dyn Journal>) -> Result<(Assembly, Services), Failure> {
        let services = Services::new(journal, self.kit);
        Ok((assemble(self.config, &services)?, services))
    }
}

/// A runtime for a command.
///
/// # Errors
/// If the system gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("the runtime cannot be started: {e}")))
}

/// Logging for a command.
///
/// # Errors
/// A filter in `RUST_LOG` that does not parse.
pub fn logging(arguments: &Arguments) -> Result<Telemetry, Failure> {
    for_command(arguments.verbose).map_err(|e| Failure::new(Exit::Usage, e.to_string()))
}

/// The jobs that a command is about: the named one, or all.
///
/// # Errors
/// A name that no job has.
pub fn jobs<'a>(assembly: &'a Assembly, named: Option<&str>) -> Result<Vec<&'a crate::engine::run::World>, Failure> {
    let Some(name) = named else { return Ok(assembly.worlds.values().collect()) };
    match assembly.worlds.get(name) {
        Some(world) => Ok(vec![world]),
        None => {
            let names: Vec<&str> = assembly.worlds.keys().map(crate::model::key::JobName::as_str).collect();
            Err(Failure::new(Exit::Usage, format!("there is no job {name:?}"))
                .hint(format!("the jobs are: {}", names.join(", "))))
        }
    }
}
