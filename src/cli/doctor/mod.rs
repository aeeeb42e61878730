//! `rosterd doctor`: gathers how things are into one file that can be attached to a question. Changes nothing anywhere.
//!
//! It works where other commands do not: with a configuration that is refused, a store that cannot be opened, systems that do
//! not answer. Each of these is a finding in the file, and the rest is gathered all the same.
//!
//! Whoever gets the file has no business with people's names or with secrets. Names of users become pseudonyms, drawn anew for
//! each file, so that the same user is the same word throughout it; of the configuration only what is known to be harmless is
//! shown; and at last every secret that can be read is looked for in the text and struck out.

mod address;
mod scrub;
mod settings;
mod state;
mod systems;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use self::scrub::{Scrub, without};
use self::settings::Written;
use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::stage::{self, logging, runtime};
use crate::config::Checked;
use crate::config::daemon::DEFAULT_STATE;
use crate::config::layers::environment;
use crate::contract::journal::Journal;
use crate::daemon::assemble::{kit, load, tokens};
use crate::store::{Access, OpenError, Place};

/// The version of the file's format.
const FORMAT: u32 = 1;

/// What the command takes.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// The file to write, which must not be there yet; `-`: the standard output [default: rosterd-doctor-TIME.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Speak to no system
    #[arg(long)]
    offline: bool,
    /// Leave names of users as they are; secrets stay out in any case
    #[arg(long)]
    names: bool,
}

/// What was found wrong, and how grave it is.
#[derive(Debug, Default)]
struct Findings(Vec<(Exit, String)>);

impl Findings {
    fn add(&mut self, exit: Exit, what: impl Into<String>) {
        self.0.push((exit, what.into()));
    }
}

/// Gathers and writes.
///
/// # Errors
/// A file that cannot be written. Whatever is wrong otherwise is in the file and in the exit code.
pub fn command(arguments: &Arguments, more: &DoctorArguments) -> Result<Exit, Failure> {
    let _telemetry = logging(arguments)?;
    let file = stage::file(arguments);
    let now = Utc::now();
    let kit = kit();
    let written = Written::read(&file);
    let mut findings = Findings::default();
    let checked = load(&file, &kit);
    let secrets = written.secrets(&environment(), &kit.secrets);
    let clean = |text: String| {
        let text = without(text, &secrets);
        if more.names { text } else { homeless(text, std::env::var("HOME").ok().as_deref()) }
    };
    let (text, findings) = runtime()?.block_on(async {
        let (state, password) = match &checked {
            Ok(Checked { config, .. }) => (config.daemon.state.clone(), config.daemon.state_password.clone()),
            Err(_) => {
                let state = written.text("daemon", "state").unwrap_or_else(|| DEFAULT_STATE.to_owned());
                (state, written.state_password())
            }
        };
        let password = password.map(|reference| stage::password(kit.secrets.clone(), reference));
        let opened = stage::open_state(Place { url: &state, password: password.as_ref() }, Access::Read).await;
        let mut scrub = Scrub::new(more.names, written.names())?;
        scrub.hide(&secrets);
        if let Ok(checked) = &checked
            && tokens(&checked.config, &kit).is_err()
        {
            findings.add(Exit::Configuration, "the bearer tokens are refused; `rosterd check` says why");
        }
        if let Ok(journal) = &opened {
            state::learn_names(&mut scrub, &**journal, &written).await;
        }
        let configuration = settings::gather(&file, &written, &checked, &scrub, &mut findings);
        let store = state::of_store(&state, &opened, &scrub, &mut findings).await;
        let journal = opened.as_ref().ok().cloned();
        let state = match &journal {
            Some(journal) => state::of_runs(&**journal, checked.as_ref().ok(), now, &scrub).await,
            None => Value::Null,
        };
        let systems = match (checked, journal, more.offline) {
            (_, _, true) => json!({ "asked": false, "why": "--offline" }),
            (Err(_), ..) => json!({ "asked": false, "why": "the configuration is refused" }),
            (Ok(_), None, _) => json!({
                "asked": false,
                "why": "the store cannot be read, so it is not known whose credential was refused; `rosterd check --online` asks"
            }),
            (Ok(checked), Some(journal), _) => {
                systems::gather(checked.config, kit.clone(), journal, now, &scrub, &mut findings).await
            }
        };
        let bundle = json!({
            "format": FORMAT,
            "rosterd": env!("CARGO_PKG_VERSION"),
            "platform": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            "made": now,
            "users": if more.names { "as they are" } else { "pseudonyms" },
            "wrong": findings.0.iter().map(|(_, what)| scrub.text(what)).collect::<Vec<_>>(),
            "configuration": configuration,
            "store": store,
            "state": state,
            "systems": systems,
        });
        let text = serde_json::to_string_pretty(&bundle).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        Ok::<_, Failure>((clean(text), findings))
    })?;
    deliver(more, &text, now)?;
    if more.out.as_deref() != Some(Path::new("-")) {
        let wrong = output::count(findings.0.len(), "thing");
        for (_, what) in &findings.0 {
            output::line(&format!("- {}", clean(what.clone())))?;
        }
        let about = if more.names { "it holds names of users" } else { "users are pseudonyms" };
        output::line(&format!("{}: {wrong} found wrong; {about}, no secret is in it", place(more, now).display()))?;
    }
    Ok(findings.0.iter().map(|(exit, _)| *exit).max().unwrap_or(Exit::Done))
}

/// The text without the folders of people, which are called by them.
fn homeless(text: String, home: Option<&str>) -> String {
    let mut text = text;
    if let Some(home) = home.map(|home| home.trim_end_matches('/')).filter(|home| home.len() > 1) {
        text = text.replace(&format!("{home}/"), "~/");
    }
    for above in ["/home/", "/Users/"] {
        let mut parts = text.split(above);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| c.is_whitespace() || "/\"':;,)\\".contains(c)).unwrap_or(part.len());
            out.push_str(if end == 0 { above } else { "~" });
            out.push_str(&part[end..]);
        }
        text = out;
    }
    text
}

fn place(more: &DoctorArguments, now: DateTime<Utc>) -> PathBuf {
    more.out.clone().unwrap_or_else(|| PathBuf::from(format!("rosterd-doctor-{}.json", now.format("%Y%m%dT%H%M%SZ"))))
}

/// Writes the file for its owner alone; one that is there is left as it is.
fn deliver(more: &DoctorArguments, text: &str, now: DateTime<Utc>) -> Result<(), Failure> {
    let path = place(more, now);
    if path == Path::new("-") {
        return output::line(text);
    }
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display())).hint("name another place with --out")
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)
}

/// A store as it was opened.
type Opened = Result<Arc<dyn Journal>, OpenError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_struck_out_as_it_is_and_as_it_stands_in_json() {
        let secret = secrecy::SecretString::from("hun\"ter\\2");
        let text = serde_json::to_string(&json!({ "why": "hun\"ter\\2 was refused" })).expect("JSON");
        assert_eq!(without(text, std::slice::from_ref(&secret)), r#"{"why":"(secret) was refused"}"#);
        assert_eq!(without("hun\"ter\\2".to_owned(), &[secret]), "(secret)");
    }

    #[test]
    fn a_folder_called_by_somebody_is_not_told() {
        let text = r#"{"file":"/home/ada/rosterd.toml","path":"/srv/eve/x","error":"/home/zoe: no; /home/"}"#.to_owned();
        let told = homeless(text, Some("/srv/eve"));
        assert_eq!(told, r#"{"file":"~/rosterd.toml","path":"~/x","error":"~: no; /home/"}"#);
    }
}
