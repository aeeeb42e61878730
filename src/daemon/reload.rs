//! The reload: a whole new assembly in the place of the old one, or nothing. Whoever rested may be spoken to again by what it
//! brings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::assemble::{AssembleError, assemble, load, tokens};
use super::notify;
use super::supervise::Loop;
use super::watch::Watch;
use crate::config::ConfigError;
use crate::contract::fault::Fault;
use crate::contract::journal::{Journal, JournalError, Rest};
use crate::engine::rest::Rests;
use crate::model::key::SystemName;

/// How long a reload waits for the store at the most.
const PATIENCE: Duration = Duration::from_secs(2);

/// A reload that was refused: all that is wrong, and the first of it in one line.
struct Refused {
    all: String,
    brief: String,
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        let first = error.findings.iter().find(|f| f.severity == crate::config::Severity::Error);
        let brief = first.or(error.findings.first()).map(ToString::to_string).unwrap_or_default();
        Self { all: error.render(false), brief: brief.replace('\n', " ") }
    }
}

impl From<AssembleError> for Refused {
    fn from(error: AssembleError) -> Self {
        Self::other(error)
    }
}

impl Refused {
    fn other(error: impl ToString) -> Self {
        let all = error.to_string();
        Self { brief: all.replace('\n', " "), all }
    }
}

/// Who may be spoken to again after a reload.
struct Woken {
    /// Of the systems that are configured here.
    systems: BTreeSet<SystemName>,
    /// Whether also those that are not configured here.
    strangers: bool,
    credentials: Arc<BTreeMap<SystemName, String>>,
}

impl Woken {
    /// Ends their rests. Where several daemons share the journal, a reload of one is none of the others: they may still have the
    /// credential that was refused, and systems that this one does not know. There whoever has another credential is not kept
    /// from trying it, and the same one takes a person's word.
    async fn end_rests(&self, journal: &dyn Journal) -> Result<(), JournalError> {
        let rests = Rests::read(journal).await?;
        let known = |system: &SystemName| self.credentials.contains_key(system);
        let is_woken = |system: &SystemName| self.systems.contains(system) || (self.strangers && !known(system));
        if !journal.is_shared() {
            for system in rests.systems().into_iter().filter(is_woken) {
                journal.forgive(&system).await?;
            }
            return Ok(());
        }
        let is_marked = |rest: &Rest| rest.fault == Fault::Refused.word() && rest.credential.is_some();
        for system in &self.systems {
            if rests.of(system).is_some_and(|rest| !is_marked(rest)) {
                journal.rest(system, None).await?;
            }
        }
        for (system, credential) in &*self.credentials {
            if rests.has_refused(system, Some(credential)) {
                tracing::warn!(
                    system.name = %system,
                    "refused the credential that is configured here, and is not tried again with it until `rosterd release {system}` is given"
                );
            }
        }
        Ok(())
    }
}

impl Loop {
    /// Has the files looked at that the configuration in force was made from, if it says so.
    pub(super) fn watch(&mut self) {
        let seen = self.daemon.services.kit.secrets.seen();
        let every = self.daemon.assembly.config.daemon.watch;
        self.watch = every.map(|every| Watch::start(every, seen.clone(), self.changed.clone()));
    }

    /// Reads everything anew: since a person said so, or since these files have changed.
    pub(super) async fn reload(&mut self, changed: Option<&[PathBuf]>) {
        notify::reloading();
        match self.reloaded(changed).await {
            Ok(()) => {
                self.in_force();
                self.condition(|c| {
                    c.reload_failed = None;
                    c.reloads.done += 1;
                });
                tracing::info!(jobs = self.daemon.assembly.worlds.len(), "the configuration was reloaded");
            }
            Err(Refused { all, brief }) => {
                tracing::error!("the reload failed, the configuration before stays in force:\n{}", all.trim_end());
                self.condition(|c| {
                    c.reload_failed = Some(brief);
                    c.reloads.failed += 1;
                });
            }
        }
        notify::ready(&self.status_line());
    }

    /// Builds the whole new assembly, and only then puts it in the place of the old one.
    async fn reloaded(&mut self, changed: Option<&[PathBuf]>) -> Result<(), Refused> {
        let checked = load(&self.daemon.file, &self.daemon.services.kit)?;
        for warning in &checked.warnings {
            tracing::warn!("{}", warning.render(false).trim_end());
        }
        let assembly = assemble(checked.config, &self.daemon.services)?;
        let tokens = tokens(&assembly.config, &self.daemon.services.kit)?;
        let before = self.daemon.assembly.config.clone();
        if let Some(telemetry) = &self.daemon.telemetry {
            telemetry.set_level(&assembly.config.log.level).map_err(Refused::other)?;
        }
        let now = assembly.config.clone();
        for (key, same) in [
            ("daemon.state", before.daemon.state == now.daemon.state),
            ("daemon.state_password", before.daemon.state_password == now.daemon.state_password),
            ("daemon.listen", before.daemon.listen == now.daemon.listen),
            ("log.format", before.log.format == now.log.format),
            ("log.file", before.log.file == now.log.file),
            ("telemetry", before.telemetry == now.telemetry),
        ] {
            if !same {
                tracing::warn!("a change of {key} takes effect at the next start");
            }
        }
        // What can fail comes before anything of the old one is gone.
        if let Err(error) = self.schedule(&now, false).await {
            // Some of the new times may stand by now, and what is logged is another.
            if let Some(telemetry) = &self.daemon.telemetry {
                let _ = telemetry.set_level(&before.log.level);
            }
            if let Err(again) = self.schedule(&before, false).await {
                tracing::error!(
                    "the times of the configuration that stays in force could not all be set again, restart the daemon: {again}"
                );
            }
            return Err(Refused::other(error));
        }
        self.herald.replace(assembly.hooks.clone());
        self.daemon.assembly = assembly;
        self.condition(|c| c.tokens = tokens);
        self.watch();
        self.beat(false);
        self.wake(changed).await;
        Ok(())
    }

    /// A new configuration may hold a new credential: who rested may be spoken to again. Where only some secret has changed
    /// that is whose it is and nobody else: one that is renewed every hour must not have another system's refused password
    /// tried every hour.
    async fn wake(&self, changed: Option<&[PathBuf]>) {
        let assembly = &self.daemon.assembly;
        let is_woken = |system: &SystemName| {
            let is_theirs = |file: &PathBuf| {
                *file == self.daemon.file || assembly.files.get(system).is_some_and(|files| files.contains(file))
            };
            changed.is_none_or(|files| files.iter().any(is_theirs))
        };
        let journal = self.daemon.services.journal.clone();
        let woken = Woken {
            systems: assembly.files.keys().filter(|system| is_woken(system)).cloned().collect(),
            strangers: changed.is_none_or(|files| files.contains(&self.daemon.file)),
            credentials: assembly.credentials.clone(),
        };
        // Who looks at the status after a reload finds the rests ended, unless the store hangs: that is not waited for.
        let task = tokio::spawn(async move {
            if let Err(error) = woken.end_rests(&*journal).await {
                tracing::warn!("rests could not be ended after the reload: {error}");
            }
        });
        if tokio::time::timeout(PATIENCE, task).await.is_err() {
            tracing::warn!("rests are not ended yet after the reload: the store does not answer");
        }
    }
}
