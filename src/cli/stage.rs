//! What commands stand on: the configuration as loaded, the state store, a runtime, and which systems may be spoken to.

use std::path::PathBuf;
use std::sync::Arc;

use super::Arguments;
use super::exit::{Exit, Failure};
use crate::config::daemon::DEFAULT_STATE;
use crate::config::{Config, locate};
use crate::contract::journal::Journal;
use crate::daemon::assemble::{Assembly, Services, assemble, kit, kit_of_stand_ins, load};
use crate::daemon::telemetry::{Telemetry, for_command};
use crate::engine::rest::Rests;
use crate::engine::run::World;
use crate::http::kind::Kit;
use crate::http::secret::{SecretRef, Secrets};
use crate::model::key::SystemName;
use crate::store::{self, Access, OpenError, Password, Place};

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
        Self::with(arguments, kit())
    }

    /// Loads the configuration to look at its rules alone: secrets are not read, and no system can be spoken to.
    ///
    /// # Errors
    /// A configuration that is wrong.
    pub fn rules(arguments: &Arguments) -> Result<Self, Failure> {
        Self::with(arguments, kit_of_stand_ins())
    }

    fn with(arguments: &Arguments, kit: Kit) -> Result<Self, Failure> {
        let file = file(arguments);
        if !file.exists() && locate::PLACES.map(PathBuf::from).contains(&file) {
            let places = locate::PLACES.join(" nor ");
            return Err(Failure::new(Exit::Configuration, format!("there is no configuration: neither {places} is there"))
                .hint("`rosterd init` writes one; --config FILE or $ROSTERD_CONFIG names one elsewhere"));
        }
        let checked = load(&file, &kit)?;
        for warning in &checked.warnings {
            eprintln!("{}", warning.render(super::output::color_on_stderr()).trim_end());
        }
        Ok(Self { file, config: checked.config, kit })
    }

    /// Opens the state store.
    ///
    /// # Errors
    /// A store that cannot be opened, with what to do.
    pub async fn journal(&self, access: Access) -> Result<Arc<dyn Journal>, Failure> {
        let password = self.state_password()?;
        let place = Place { url: &self.config.daemon.state, password: password.as_ref() };
        open_state(place, access).await.map_err(unopened)
    }

    /// The password of the state store, if one is configured.
    ///
    /// # Errors
    /// A secret that cannot be read.
    pub fn state_password(&self) -> Result<Option<Password>, Failure> {
        let Some(reference) = &self.config.daemon.state_password else { return Ok(None) };
        let password = password(self.kit.secrets.clone(), reference.clone());
        // What cannot be read at the start is a mistake in the configuration.
        password().map_err(|why| Failure::new(Exit::Configuration, why))?;
        Ok(Some(password))
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

/// Opens the state that a configuration names. Where nothing was ever started the folder of the default one is missing, since
/// the systemd unit makes it: to whoever only looks that is an empty state, as a missing file is. Any other folder that is missing
/// is more likely a volume that was not mounted.
///
/// # Errors
/// A store that cannot be opened.
pub async fn open_state(place: Place<'_>, access: Access) -> Result<Arc<dyn Journal>, OpenError> {
    match store::open_for(place, access).await {
        Err(OpenError::NoFolder(_)) if access == Access::Read && place.url == DEFAULT_STATE => {
            store::open_for("sqlite::memory:", Access::Read).await
        }
        opened => opened,
    }
}

/// How the password of the state store is read, by whoever connects.
pub fn password(secrets: Secrets, reference: SecretRef) -> Password {
    Arc::new(move || secrets.read("daemon.state_password", &reference).map_err(|error| error.to_string()))
}

/// A store that could not be opened.
pub fn unopened(error: OpenError) -> Failure {
    let exit = match &error {
        // No restart mends it.
        OpenError::Address { .. } => Exit::Configuration,
        error if error.is_passing() => Exit::Unavailable,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
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
pub fn jobs<'a>(assembly: &'a Assembly, named: Option<&str>) -> Result<Vec<&'a World>, Failure> {
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

/// The part of a job that may be spoken to: its source, and those of its targets of which [`may_speak`] says so. `None`
/// where that leaves nothing to do. A failure is added for each system that is left alone.
///
/// # Errors
/// A store that cannot be read.
pub async fn spoken_to(world: &World, failures: &mut Vec<Failure>) -> Result<Option<World>, Failure> {
    let rests = Rests::read(&*world.journal).await?;
    if let Some(refused) = locked(&rests, &world.source_name, world) {
        failures.push(refused);
        return Ok(None);
    }
    let mut open = world.clone();
    open.targets.retain(|side| {
        let refused = locked(&rests, &side.name, world);
        let free = refused.is_none();
        failures.extend(refused);
        free
    });
    Ok((!open.targets.is_empty()).then_some(open))
}

/// Whether a command may speak to a system. One that refused its credential is left alone, by commands that only look as
/// well: a second try can lock the account. A system that rests for any other reason may be looked at.
///
/// # Errors
/// It rests after a refusal; a store that cannot be read.
pub async fn may_speak(world: &World, system: &SystemName) -> Result<(), Failure> {
    locked(&Rests::read(&*world.journal).await?, system, world).map_or(Ok(()), Err)
}

fn locked(rests: &Rests, system: &SystemName, world: &World) -> Option<Failure> {
    let alone = rests.why_not(system, world.credential(system), world.clock.now())?;
    alone.refused.then(|| Failure::new(Exit::Permission, alone.why))
}
