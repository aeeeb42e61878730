//! The file that `rosterd init` writes: whole and working for the answers given, with the next things to set as comments.
//! It begins in `observe`, so that the first thing a new file does is to say what it would do.

use std::fmt::Write as _;

/// A product that is a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Jira Data Center.
    Jira,
    /// Confluence Data Center.
    Confluence,
    /// Bitbucket Data Center.
    Bitbucket,
}

impl Product {
    /// All of them.
    pub const ALL: [Product; 3] = [Product::Jira, Product::Confluence, Product::Bitbucket];

    /// The word of its kind, which is also the name that the template gives it.
    pub fn word(self) -> &'static str {
        match self {
            Product::Jira => "jira",
            Product::Confluence => "confluence",
            Product::Bitbucket => "bitbucket",
        }
    }

    fn auth(self) -> &'static str {
        match self {
            Product::Jira => r#"{ token = { env = "JIRA_TOKEN" } }"#,
            Product::Confluence => r#"{ token = { env = "CONFLUENCE_TOKEN" } }"#,
            Product::Bitbucket => r#"{ username = "rosterd", password = { env = "BITBUCKET_PASSWORD" } }"#,
        }
    }
}

/// What `rosterd init` has asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The Okta domain, such as `companyname.okta.com`.
    pub okta_domain: String,
    /// The id of the Okta app whose users and groups are meant; `None`: all of them.
    pub okta_app_id: Option<String>,
    /// The products with their URLs; at least one, none twice.
    pub targets: Vec<(Product, String)>,
    /// A word or an interval.
    pub schedule: String,
    /// Where the state is kept; `None`: where it is by default.
    pub state: Option<String>,
}

/// Writes the file.
pub fn render(answers: &Answers) -> String {
    let mut out = String::from(HEAD);
    if let Some(state) = &answers.state {
        let _ = writeln!(out, "[daemon]\n{STATE}state = {}\n", quoted(state));
    }
    source(&mut out, answers);
    for (product, url) in &answers.targets {
        target(&mut out, *product, url);
    }
    job(&mut out, answers);
    out.push_str(TAIL);
    out
}

fn source(out: &mut String, answers: &Answers) {
    let domain = quoted(&answers.okta_domain);
    let app = match &answers.okta_app_id {
        Some(id) => format!("app_id    = {}   # only users and groups assigned to this app", quoted(id)),
        None => r#"# app_id  = "0oa…"   # only users and groups assigned to this app"#.to_owned(),
    };
    let _ = writeln!(
        out,
        r#"[sources.okta]
kind      = "okta"
domain    = {domain}
# A secret is never written here. Say where it is: {{ env = "NAME" }}, {{ file = "/path" }} or {{ credential = "name" }}.
api_token = {{ env = "OKTA_API_TOKEN" }}
{app}
"#
    );
}

fn target(out: &mut String, product: Product, url: &str) {
    let (word, url, auth) = (product.word(), quoted(url), product.auth());
    let _ = writeln!(out, "[targets.{word}]\nkind = \"{word}\"\nurl  = {url}\nauth = {auth}\n");
}

fn job(out: &mut String, answers: &Answers) {
    let targets: Vec<String> = answers.targets.iter().map(|(product, _)| quoted(product.word())).collect();
    let _ = writeln!(
        out,
        r#"[jobs.staff]
source   = "okta"
targets  = [{}]
schedule = {}
# Plans and reports, changes nothing. `rosterd plan` shows the plan; take this line out when it is what you want.
mode     = "observe"
"#,
        targets.join(", "),
        quoted(&answers.schedule)
    );
}

/// Text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

const HEAD: &str = r#"# rosterd: keeps the users and groups of the targets in step with the source.
# `rosterd check --online` says whether this file, its credentials and their rights are good.

"#;

const STATE: &str = "\
# Links, journal and queue. The default, /var/lib/rosterd/state.db, is for the systemd unit and the image: leave this out there.
";

const TAIL: &str = r#"# Who is managed. Without this: every user that the source shows.
# [jobs.staff.users]
# member_of = ["atlassian-users"]
# exclude   = ["svc-*"]

# Which groups are managed. Without this: every group that the source shows, under its own name.
# [jobs.staff.groups]
# include = ["jira-*", "eng-*"]

# What happens to leavers: keep, remove_groups, deactivate or delete.
# [jobs.staff.leavers]
# disabled     = "deactivate"
# out_of_scope = "remove_groups"
# deleted      = "deactivate"
# grace        = "2d"
# delete_after = "90d"

# Removals above these limits wait, and are listed by `rosterd status`.
# [jobs.staff.guard]
# deactivations       = { share = 0.10, floor = 5 }
# membership_removals = { share = 0.25, floor = 20 }
# protect_users       = ["admin", "rosterd"]

# Who is told when removals wait, or a system fails, refuses the credential or is back. The URL is a secret too.
# [notify.ops]
# url = { env = "HOOK_URL" }
# format = "slack"
"#;
