//! The configuration as it may be shown: what is known to be harmless as it is written, everything else by its sort.

use std::collections::BTreeSet;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::scrub::Scrub;
use super::{Findings, address};
use crate::cli::exit::Exit;
use crate::config::layers::{PREFIX, environment};
use crate::config::{Checked, ConfigError, Finding, Severity};
use crate::contract::settings::is_secret;
use crate::contract::settings::path::KeyPath;
use crate::http::secret::{SecretRef, Secrets, is_plainly_a_variable};

/// Keys whose text is shown as it is written.
const HARMLESS: &[&str] = &[
    "kind",
    "may",
    "app_id",
    "client_id",
    "key_id",
    "algorithm",
    "scopes",
    "group_types",
    "road",
    "application_keys",
    "admin_groups",
    "timezone",
    "listen",
    "drain",
    "keep_runs",
    "watch",
    "level",
    "format",
    "directory",
    "rotate",
    "source",
    "targets",
    "observe",
    "schedule",
    "every",
    "cron",
    "at",
    "weekday",
    "jitter",
    "mode",
    "member_of",
    "include",
    "from",
    "to",
    "pattern",
    "group",
    "new_users",
    "all_users",
    "only_domains",
    "protect_groups",
    "groups",
    "exclusive",
    "disabled",
    "out_of_scope",
    "deleted",
    "grace",
    "delete_after",
    "seats",
    "plan_expires",
    "base",
    "ceiling",
    "timeout",
    "connect_timeout",
    "read_timeout",
    "max_wait",
    "ca_file",
    "on",
    "entitled",
    "pending",
];
/// Keys of URLs.
const ADDRESSES: &[&str] = &["url", "domain", "state", "proxy", "otlp"];
/// Keys of expressions, of which what stands in quotes is hidden.
const EXPRESSIONS: &[&str] = &["filter", "email", "display_name"];
/// Keys of names of users and of globs over them.
const PEOPLE: &[&str] = &["protect_users", "has", "username", "users", "exclude"];

/// The file as it is written.
pub(super) struct Written {
    table: Option<toml::Table>,
}

impl Written {
    /// Reads it; whatever is wrong with it, the check says.
    pub(super) fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        Self { table: text.parse().ok() }
    }

    /// A text of a section.
    pub(super) fn text(&self, section: &str, key: &str) -> Option<String> {
        Some(self.table.as_ref()?.get(section)?.get(key)?.as_str()?.to_owned())
    }

    /// Where the password of the state store is.
    pub(super) fn state_password(&self) -> Option<SecretRef> {
        reference(self.table.as_ref()?.get("daemon")?.get("state_password")?.as_table()?)
    }

    /// The names of the configuration: of systems, kinds, jobs and webhooks, and the hosts of systems.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = ["rosterd.toml".to_owned()].into();
        let sections = ["sources", "targets", "jobs", "notify"];
        for (name, table) in sections.iter().filter_map(|section| self.table.as_ref()?.get(*section)?.as_table()).flatten() {
            names.insert(name.clone());
            let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
            names.extend(text("kind").map(str::to_owned));
            names.extend([text("url"), text("domain")].into_iter().flatten().filter_map(address::host));
        }
        names
    }

    /// The names of the sections' entries.
    pub(super) fn entries(&self, section: &str) -> Vec<String> {
        let table = self.table.as_ref().and_then(|table| table.get(section)?.as_table());
        table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
    }

    /// The names of bearer tokens, which may be those of people; in the file, and in variables laid over it.
    pub(super) fn token_names(&self, variables: &[(String, String)]) -> Vec<String> {
        let tokens = self.table.as_ref().and_then(|table| table.get("daemon")?.get("tokens")?.as_table());
        let written = tokens.into_iter().flat_map(toml::Table::keys).cloned();
        let laid = variables.iter().filter_map(|(name, _)| {
            let mut steps = name.strip_prefix(PREFIX)?.split("__");
            let is_token = steps.next()?.eq_ignore_ascii_case("daemon") && steps.next()?.eq_ignore_ascii_case("tokens");
            is_token.then(|| steps.next().map(str::to_lowercase)).flatten()
        });
        written.chain(laid).collect()
    }

    /// Every secret that can be read, whatever stands where a secret's place is to be named, and the passwords of addresses;
    /// of the file, and of variables laid over it. The longest first, since one may hold another.
    pub(super) fn secrets(&self, variables: &[(String, String)], secrets: &Secrets) -> Vec<SecretString> {
        let mut found = Vec::new();
        if let Some(table) = &self.table {
            collect(&KeyPath::root(), &toml::Value::Table(table.clone()), secrets, &mut found);
        }
        for (name, text) in variables {
            of_variable(name, text, secrets, &mut found);
        }
        found.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        found
    }
}

/// The secrets that a variable names or is: as a text, as a table, or as the place of one.
fn of_variable(name: &str, text: &str, secrets: &Secrets, found: &mut Vec<SecretString>) {
    let Some(steps) = name.strip_prefix(PREFIX) else { return };
    let path = steps.split("__").fold(KeyPath::root(), |path, step| path.key(&step.to_lowercase()));
    let place = path.last_key().map(|key| toml::Table::from_iter([(key.to_owned(), toml::Value::from(text))]));
    for table in place.into_iter().chain(format!("x = {text}").parse::<toml::Table>().ok()) {
        table.values().for_each(|value| collect(&path, value, secrets, found));
        if reference(&table).is_some() {
            collect(&path, &toml::Value::Table(table), secrets, found);
        }
    }
}

fn collect(path: &KeyPath, value: &toml::Value, secrets: &Secrets, found: &mut Vec<SecretString>) {
    match value {
        toml::Value::Table(table) => {
            if let Some(reference) = reference(table)
                && let Ok(secret) = secrets.read("secret", &reference)
            {
                found.push(secret);
            }
            table.iter().for_each(|(key, value)| collect(&path.key(key), value, secrets, found));
        }
        toml::Value::Array(list) => list.iter().for_each(|value| collect(path, value, secrets, found)),
        toml::Value::String(text) if is_secret(path) && !text.trim().is_empty() => found.push(SecretString::from(text.clone())),
        toml::Value::String(text) => {
            let key = path.last_key().unwrap_or_default();
            if ADDRESSES.contains(&key) || text.contains("://") {
                found.extend(address::passwords(text).into_iter().map(SecretString::from));
            }
        }
        toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) | toml::Value::Datetime(_) => {}
    }
}

/// The reference to a secret that a table is, if it is one.
fn reference(table: &toml::Table) -> Option<SecretRef> {
    let text = |key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let known = ["env", "file", "credential"];
    let is_one = !table.is_empty() && table.iter().all(|(key, value)| known.contains(&key.as_str()) && value.is_str());
    is_one.then(|| SecretRef { env: text("env"), file: text("file").map(Into::into), credential: text("credential") })
}

/// What there is to say of the configuration.
pub(super) fn gather(
    file: &Path,
    written: &Written,
    checked: &Result<Checked, ConfigError>,
    scrub: &Scrub,
    findings: &mut Findings,
) -> Value {
    let found: &[Finding] = match checked {
        Ok(checked) => &checked.warnings,
        Err(error) => &error.findings,
    };
    let wrong = found.iter().filter(|finding| finding.severity == Severity::Error);
    for finding in wrong {
        findings.add(
            Exit::Configuration,
            format!("the configuration is refused: {}: {}", scrub.key(&finding.key), scrub.text(&finding.what)),
        );
    }
    let shown = |finding: &Finding| {
        json!({
            "severity": if finding.severity == Severity::Error { "error" } else { "warning" },
            "file": finding.file(),
            "line": finding.line(),
            "key": scrub.key(&finding.key),
            "what": scrub.text(&finding.what),
            "hint": finding.hint.as_deref().map(|hint| scrub.text(hint)),
        })
    };
    // Of the variables the names: a value may be anything.
    let variables: Vec<String> = environment().into_iter().map(|(name, _)| scrub.key(&name)).collect();
    let root = KeyPath::root();
    json!({
        "file": file,
        "good": checked.is_ok(),
        "findings": found.iter().map(shown).collect::<Vec<_>>(),
        "overridden_by": variables,
        "written": written.table.as_ref().map(|table| of_table(&root, table, scrub)),
    })
}

fn of_table(path: &KeyPath, table: &toml::Table, scrub: &Scrub) -> Value {
    if let Some(reference) = reference(table) {
        return of_reference(&reference);
    }
    // A token is called by whoever holds it.
    let of_people = path == &KeyPath::root().key("daemon").key("tokens");
    let name = |key: &String| if of_people { scrub.name(key) } else { key.clone() };
    let entries = table.iter().map(|(key, value)| (name(key), shown(&path.key(key), key, value, scrub)));
    Value::Object(entries.collect::<Map<String, Value>>())
}

fn shown(path: &KeyPath, key: &str, value: &toml::Value, scrub: &Scrub) -> Value {
    match value {
        toml::Value::Table(table) => of_table(path, table, scrub),
        toml::Value::Array(list) => list.iter().map(|value| shown(path, key, value, scrub)).collect(),
        _ if is_secret(path) => Value::from("(hidden: it may be the secret itself)"),
        toml::Value::String(text) => Value::from(of_text(path, key, text, scrub)),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::from(*flag),
        toml::Value::Datetime(_) => Value::from("(a time)"),
    }
}

fn of_text(path: &KeyPath, key: &str, text: &str, scrub: &Scrub) -> String {
    let above = path.parent();
    let within = |table: &str| above.as_ref().and_then(KeyPath::last_key) == Some(table);
    if ADDRESSES.contains(&key) || text.contains("://") {
        return address::shown(text);
    }
    // The same words stand for other things elsewhere.
    let expression = EXPRESSIONS.contains(&key) || (key == "username" && within("map"));
    let elsewhere = (key == "exclude" && within("groups")) || (key == "users" && !within("canaries"));
    let people = PEOPLE.contains(&key) && !elsewhere;
    if expression {
        return in_quotes(text, scrub);
    }
    if people {
        return scrub.name(text);
    }
    let word = ["users", "exclude"].contains(&key) || within("statuses");
    if word || HARMLESS.contains(&key) { text.to_owned() } else { format!("(a text of {} letters)", text.chars().count()) }
}

/// An expression whose literals are pseudonyms: a rule may name somebody.
fn in_quotes(text: &str, scrub: &Scrub) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Option<(char, String)> = None;
    for c in text.chars() {
        match &mut open {
            Some((quote, literal)) if c == *quote => {
                out.push_str(&scrub.name(literal));
                out.push(c);
                open = None;
            }
            Some((_, literal)) => literal.push(c),
            None => {
                out.push(c);
                if c == '\'' || c == '"' {
                    open = Some((c, String::new()));
                }
            }
        }
    }
    out
}

/// Where a secret is, as far as that is known not to be the secret.
fn of_reference(reference: &SecretRef) -> Value {
    let SecretRef { env, file, credential } = reference;
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(std::path::PathBuf::from);
    let there = |name: &String| folder.as_ref().is_some_and(|folder| folder.join(name).is_file());
    let mut shown = Map::new();
    if let Some(name) = env {
        let name = if is_plainly_a_variable(name) { name.as_str() } else { "(not shown)" };
        shown.insert("env".to_owned(), json!(name));
        shown.insert("set".to_owned(), json!(std::env::var_os(name).is_some_and(|value| !value.is_empty())));
    }
    if let Some(path) = file {
        let is_there = path.is_file();
        shown.insert("file".to_owned(), if is_there { json!(path) } else { json!("(not shown: there is no such file)") });
    }
    if let Some(name) = credential {
        let text = if there(name) { name.as_str() } else { "(not shown: there is no such credential)" };
        shown.insert("credential".to_owned(), json!(text));
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_harmless_is_shown() {
        let text = r#"
            [daemon]
            state = "postgres://eve:hunter2@db.example.com/rosterd?x=hunter2"
            token = "hunter2"
            tokens.eve = { secret = { env = "hunter2hunter2" }, may = "write" }
            [sources.okta]
            domain = "https://eve:hunter2@okta.example.com"
            [targets.bare]
            url = "eve:hunter2@jira.example.com"
            [targets.query]
            url = "jira.example.com/x?os_password=hunter2#hunter2"
            [targets.jira]
            kind = "jira"
            url = "https://eve:hunter2@jira.example.com/jira"
            proxy = "eve:hunter2@proxy:3128"
            auth = { token = { env = "hunter2hunter2" } }
            http = { concurrency = 4, tokn = "hunter2", proxy_auth = { username = "eve", password = { credential = "hunter2" } } }
            [jobs.staff]
            schedule = "hourly"
            [jobs.staff.users]
            filter = "login != 'eve@example.com' and not profile.guest"
            exclude = ["eve-*"]
            [jobs.staff.groups]
            exclude = ["*-test"]
            [jobs.staff.guard]
            canaries = { users = ["eve"], groups = ["atlassian-users"] }
            expect = [{ group = "admins", has = ["eve"], at_least = 3 }]
        "#;
        let written = Written { table: text.parse().ok() };
        let scrub = Scrub::new(false, written.names()).expect("random");
        let shown = of_table(&KeyPath::root(), written.table.as_ref().expect("TOML"), &scrub);
        let all = shown.to_string();
        for hidden in ["hunter2", "eve"] {
            assert!(!all.contains(hidden), "{hidden} is in {all}");
        }
        assert_eq!(shown["daemon"]["state"], "postgres://db.example.com/rosterd");
        assert_eq!(shown["targets"]["jira"]["url"], "https://jira.example.com/jira");
        assert_eq!(shown["sources"]["okta"]["domain"], "https://okta.example.com/");
        let token = shown["daemon"]["tokens"].as_object().and_then(|tokens| tokens.values().next()).expect("a token");
        assert_eq!(token["may"], "write");
        assert!(["jira.example.com", "okta.example.com"].iter().all(|host| written.names().contains(*host)));
        assert!(!written.names().contains("eve"), "who logs in is no host");
        assert_eq!(shown["targets"]["jira"]["http"]["tokn"], "(a text of 7 letters)");
        assert_eq!(shown["jobs"]["staff"]["guard"]["expect"][0]["at_least"], 3);
        assert_eq!(shown["jobs"]["staff"]["groups"]["exclude"][0], "*-test");
        let filter = shown["jobs"]["staff"]["users"]["filter"].as_str().expect("text");
        assert!(filter.starts_with("login != '") && filter.ends_with("' and not profile.guest"), "{filter}");
        let env = ("hunter2hunter2".to_owned(), "00secret".to_owned());
        let variables = [
            ("ROSTERD__TARGETS__JIRA__AUTH__TOKEN__ENV".to_owned(), "OF_A_PLACE".to_owned()),
            ("ROSTERD__TARGETS__JIRA__AUTH__TOKEN".to_owned(), "{ env = \"OF_A_TABLE\" }".to_owned()),
            ("ROSTERD__TARGETS__JIRA__AUTH__PASSWORD".to_owned(), "itself".to_owned()),
            ("ROSTERD__TARGETS__JIRA__URL".to_owned(), "eve:of an address@jira".to_owned()),
            ("ROSTERD__DAEMON__TOKENS__ADA__MAY".to_owned(), "read".to_owned()),
        ];
        let env = std::collections::BTreeMap::from([
            env,
            ("OF_A_PLACE".to_owned(), "1st".to_owned()),
            ("OF_A_TABLE".to_owned(), "2nd".to_owned()),
        ]);
        let found = written.secrets(&variables, &Secrets::with_env(env));
        let found: BTreeSet<&str> = found.iter().map(ExposeSecret::expose_secret).collect();
        for secret in ["hunter2", "00secret", "1st", "2nd", "itself", "of an address"] {
            assert!(found.contains(secret), "{secret} is not in {found:?}");
        }
        assert_eq!(written.token_names(&variables), ["eve", "ada"]);
    }

    #[test]
    fn every_key_of_the_example_is_shown_in_a_way_that_was_thought_of() {
        let text = include_str!("../../../examples/full.toml");
        let written = Written { table: text.parse().ok() };
        let scrub = Scrub::new(false, written.names()).expect("random");
        let shown = of_table(&KeyPath::root(), written.table.as_ref().expect("TOML"), &scrub).to_string();
        assert!(!shown.contains("(a text of"), "{shown}");
    }
}
