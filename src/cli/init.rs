//! `rosterd init`: asks a few questions and writes the file.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use dialoguer::{Input, MultiSelect, Select};
use rustix::fs::{Access, access};
use serde_json::json;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use crate::config::daemon::DEFAULT_STATE;
use crate::config::locate;
use crate::config::template::{Answers, Product, render};
use crate::config::{Layers, check};
use crate::daemon::assemble::{checks, kit};
use crate::http::kind::Kit;
use crate::http::secret::Secrets;

/// The schedules that are offered.
const SCHEDULES: [&str; 4] = ["hourly", "daily", "twice_daily", "weekly"];

/// What the command takes. Whatever is given is not asked.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// The Okta domain, such as companyname.okta.com
    #[arg(long, value_name = "HOST")]
    okta_domain: Option<String>,
    /// The id of the Okta app whose users and groups are meant
    #[arg(long, value_name = "ID")]
    okta_app: Option<String>,
    /// Jira's URL
    #[arg(long, value_name = "URL")]
    jira: Option<String>,
    /// Confluence's URL
    #[arg(long, value_name = "URL")]
    confluence: Option<String>,
    /// Bitbucket's URL
    #[arg(long, value_name = "URL")]
    bitbucket: Option<String>,
    /// hourly, daily, twice_daily, weekly, or an interval such as 15m
    #[arg(long, value_name = "WHEN")]
    schedule: Option<String>,
}

/// Writes a configuration.
///
/// # Errors
/// A file that is there already, or cannot be written; questions where nobody can answer.
pub fn command(arguments: &Arguments, more: &InitArguments) -> Result<Exit, Failure> {
    let file = arguments.config.clone().filter(|f| !f.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("rosterd.toml"));
    if file.exists() {
        return Err(Failure::new(Exit::Failed, format!("{} is there already", file.display()))
            .hint("name another with --config, or move it away"));
    }
    let text = render(&Answers { state: state_beside(&file), ..answers(more)? });
    refuse_unusable(&text)?;
    write(&file, &text)?;
    if arguments.json {
        output::json(&json!({"file": file}))?;
        return Ok(Exit::Done);
    }
    output::line(&format!("wrote {}", file.display()))?;
    output::line("next: put the secrets where it says, then `rosterd check --online`, then `rosterd plan`")?;
    Ok(Exit::Done)
}

/// Where the state of whoever tries things out is kept: beside the file, unless the default's folder is theirs. A file where the
/// systemd unit looks for it is the unit's, which makes that folder at its first start.
fn state_beside(file: &Path) -> Option<String> {
    let default = Path::new(DEFAULT_STATE.strip_prefix("sqlite:")?).parent()?;
    let file = std::path::absolute(file).ok()?;
    let folder = file.parent()?;
    if access(default, Access::WRITE_OK | Access::EXEC_OK).is_ok() || Some(folder) == Path::new(locate::PLACES[1]).parent() {
        return None;
    }
    // Whatever an address cannot hold is left to the one who reads the file.
    let path = folder.join("rosterd-state.db").to_str()?.to_owned();
    (!path.contains('?')).then(|| format!("sqlite:{path}"))
}

/// Checks what would be written, with stand-ins for the secrets that are not there yet.
fn refuse_unusable(text: &str) -> Result<(), Failure> {
    let secrets = ["OKTA_API_TOKEN", "JIRA_TOKEN", "CONFLUENCE_TOKEN", "BITBUCKET_PASSWORD"];
    let secrets = secrets.map(|name| (name.to_owned(), "stand-in".to_owned()));
    let kit = Kit { secrets: Secrets::with_env(secrets.into()), ..kit() };
    let layers = Layers::from_texts(&[("rosterd.toml", text)], &[]);
    match layers.and_then(|layers| check(&layers, &checks(&kit))) {
        Ok(_) => Ok(()),
        Err(error) => {
            let found = error.render(output::color_on_stderr());
            Err(Failure::new(Exit::Usage, found).hint("nothing was written; give other answers"))
        }
    }
}

fn answers(more: &InitArguments) -> Result<Answers, Failure> {
    let given: Vec<(Product, String)> =
        [(Product::Jira, &more.jira), (Product::Confluence, &more.confluence), (Product::Bitbucket, &more.bitbucket)]
            .into_iter()
            .filter_map(|(product, url)| Some((product, url.clone()?)))
            .collect();
    if let (Some(okta_domain), false) = (more.okta_domain.clone(), given.is_empty()) {
        let schedule = more.schedule.clone().unwrap_or_else(|| "hourly".to_owned());
        return Ok(Answers { okta_domain, okta_app_id: more.okta_app.clone(), targets: given, schedule, state: None });
    }
    if !std::io::stdin().is_terminal() {
        let hint = "give --okta-domain and at least one of --jira, --confluence, --bitbucket";
        return Err(Failure::new(Exit::Usage, "there is no terminal to ask questions at").hint(hint));
    }
    ask(more, given).map_err(|e| Failure::new(Exit::Failed, format!("the questions were broken off: {e}")))
}

fn ask(more: &InitArguments, given: Vec<(Product, String)>) -> dialoguer::Result<Answers> {
    let okta_domain = match &more.okta_domain {
        Some(domain) => domain.clone(),
        None => Input::new().with_prompt("Okta domain (such as companyname.okta.com)").interact_text()?,
    };
    let app: String = match &more.okta_app {
        Some(app) => app.clone(),
        None => Input::new()
            .with_prompt("Okta app id, to sync only who is assigned to it (empty: everybody)")
            .allow_empty(true)
            .interact_text()?,
    };
    let targets = if given.is_empty() { ask_targets()? } else { given };
    let schedule = match &more.schedule {
        Some(schedule) => schedule.clone(),
        None => SCHEDULES[Select::new().with_prompt("How often").items(SCHEDULES).default(0).interact()?].to_owned(),
    };
    Ok(Answers { okta_domain, okta_app_id: (!app.trim().is_empty()).then_some(app), targets, schedule, state: None })
}

fn ask_targets() -> dialoguer::Result<Vec<(Product, String)>> {
    loop {
        let names: Vec<&str> = Product::ALL.iter().map(|p| p.word()).collect();
        let chosen =
            MultiSelect::new().with_prompt("Which products (space to choose, enter when done)").items(&names).interact()?;
        let mut targets = Vec::new();
        for product in chosen.into_iter().map(|at| Product::ALL[at]) {
            let url: String = Input::new().with_prompt(format!("URL of {}", product.word())).interact_text()?;
            targets.push((product, url));
        }
        if !targets.is_empty() {
            return Ok(targets);
        }
    }
}

/// Writes a file that nobody else may read: it names hosts and accounts, though no secret.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("{} cannot be written: {e}", file.display()));
    let mut opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(file).map_err(failed)?;
    opened.write_all(text.as_bytes()).map_err(failed)
}
