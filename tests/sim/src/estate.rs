//! An estate: one Okta and the three products, started together, with a configuration of rosterd that fits them. What
//! scenario tests, benches and the demo stand on.

use std::path::Path;

use crate::bitbucket::{self, Bitbucket};
use crate::confluence::{self, Confluence};
use crate::jira::{self, Jira};
use crate::okta::{self, Okta};
use crate::world::World;

/// How the four are set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Okta.
    pub okta: okta::Options,
    /// Jira.
    pub jira: jira::Options,
    /// Confluence.
    pub confluence: confluence::Options,
    /// Bitbucket.
    pub bitbucket: bitbucket::Options,
}

/// The four, running.
pub struct Estate {
    /// The source.
    pub okta: Okta,
    /// A target.
    pub jira: Jira,
    /// A target.
    pub confluence: Confluence,
    /// A target.
    pub bitbucket: Bitbucket,
    secrets: [String; 4],
}

impl Estate {
    /// Starts the four on free loopback ports (or the given ones).
    ///
    /// # Errors
    /// If a port cannot be had.
    pub async fn start(world: World, options: Options) -> std::io::Result<Self> {
        let secrets = [
            options.okta.token.clone(),
            options.jira.access.token.clone(),
            options.confluence.access.token.clone(),
            options.bitbucket.access.password.clone(),
        ];
        Ok(Self {
            okta: Okta::start(world, options.okta).await?,
            jira: Jira::start(options.jira).await?,
            confluence: Confluence::start(options.confluence).await?,
            bitbucket: Bitbucket::start(options.bitbucket).await?,
            secrets,
        })
    }

    /// Writes the secrets as files into a folder, and returns the `sources` and `targets` tables of a configuration, with
    /// every target named after its product. `okta_extra` is appended within `[sources.okta]`; with an `oauth` of its own
    /// there it takes the place of the API token.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn systems(&self, folder: &Path, okta_extra: &str) -> std::io::Result<String> {
        for (name, secret) in ["okta-token", "jira-token", "confluence-token", "bitbucket-password"].iter().zip(&self.secrets) {
            std::fs::write(folder.join(name), secret)?;
        }
        let file = |name: &str| format!("{{ file = {:?} }}", folder.join(name).display().to_string());
        // A source has one credential: an API token, unless what is added brings another.
        let token = format!("api_token = {}", file("okta-token"));
        let credential = if okta_extra.contains("oauth") { "" } else { token.as_str() };
        Ok(format!(
            r#"[sources.okta]
kind      = "okta"
domain    = "{}"
{credential}
{okta_extra}

[targets.jira]
kind = "jira"
url  = "{}"
auth = {{ token = {} }}

[targets.confluence]
kind = "confluence"
url  = "{}"
auth = {{ token = {} }}

[targets.bitbucket]
kind = "bitbucket"
url  = "{}"
auth = {{ username = "rosterd", password = {} }}
"#,
            self.okta.url,
            self.jira.url(),
            file("jira-token"),
            self.confluence.url(),
            file("confluence-token"),
            self.bitbucket.url(),
            file("bitbucket-password"),
        ))
    }

    /// A whole configuration: the systems, a state file in the folder, and one job `staff` over the three targets.
    /// `job` is appended within `[jobs.staff]`.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn configuration(&self, folder: &Path, okta_extra: &str, job: &str) -> std::io::Result<String> {
        let systems = self.systems(folder, okta_extra)?;
        let state = folder.join("state.db");
        Ok(format!(
            "[daemon]\nstate = \"sqlite:{}\"\nlisten = \"off\"\n\n{systems}\n[jobs.staff]\nsource   = \"okta\"\ntargets  = [\"jira\", \"confluence\", \"bitbucket\"]\n{job}\n",
            state.display()
        ))
    }
}
