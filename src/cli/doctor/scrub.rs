//! Takes names of users out of texts that were written for the operator.
//!
//! Messages name people in many ways: before a colon, in quotes, in the midst of a product's own words. So a text loses what is
//! known to be a name, what stands in quotes, and what looks like a login or an address; it keeps the names of systems and jobs.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

use crate::cli::exit::{Exit, Failure};
use crate::engine::recording::mask::Mask;
use crate::model::key::fold;

/// How the names of keys begin, which look like logins.
const KEYS: [&str; 12] = [
    "http.", "guard.", "daemon.", "log.", "jobs.", "sources.", "targets.", "notify.", "leavers.", "users.", "groups.", "rosterd.",
];

/// How the keys of tokens begin, and the variables for them.
const TOKENS: [&str; 2] = ["daemon.tokens.", "ROSTERD__DAEMON__TOKENS__"];

/// How long an id is at the least.
const ID: usize = 16;

/// The text without the secrets, wherever they came from.
pub(super) fn without(text: String, secrets: &[SecretString]) -> String {
    secrets.iter().fold(text, |text, secret| {
        let secret = secret.expose_secret();
        // As it would stand in JSON.
        let quoted = serde_json::Value::from(secret).to_string();
        text.replace(quoted.trim_matches('"'), "(secret)").replace(secret, "(secret)")
    })
}

/// Makes names unknown.
pub(super) struct Scrub {
    mask: Mask,
    plain: bool,
    secrets: Vec<SecretString>,
    /// Names and ids of users in small letters.
    names: BTreeSet<String>,
    /// Names of the configuration in small letters.
    kept: BTreeSet<String>,
}

impl Scrub {
    /// With a key of its own. `plain`: changes nothing.
    ///
    /// # Errors
    /// A system that gives no random numbers.
    pub(super) fn new(plain: bool, kept: BTreeSet<String>) -> Result<Self, Failure> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| Failure::new(Exit::Failed, "the system gives no random numbers"))?;
        let kept = kept.iter().map(|name| fold(name)).collect();
        Ok(Self {
            mask: Mask::new(&key, BTreeSet::new(), BTreeSet::new()),
            plain,
            secrets: Vec::new(),
            names: BTreeSet::new(),
            kept,
        })
    }

    /// Says that this is the name or id of a user.
    pub(super) fn learn(&mut self, name: &str) {
        let name = fold(name);
        if !name.is_empty() && !self.kept.contains(&name) {
            self.names.insert(name);
        }
    }

    /// The pseudonym of a name.
    pub(super) fn name(&self, name: &str) -> String {
        // An id of letters and digits would become a word for each of its parts.
        let is_id =
            name.len() >= ID && name.chars().all(|c| c.is_ascii_alphanumeric()) && name.contains(|c: char| c.is_ascii_digit());
        match (self.plain, is_id) {
            (true, _) => name.to_owned(),
            (false, true) => format!("u{:016x}", self.mask.number("id", &fold(name))),
            (false, false) => self.mask.text(name).to_string(),
        }
    }

    /// A key, or a variable that gives one, without the name of a token, which may be a person's.
    pub(super) fn key(&self, key: &str) -> String {
        let after = TOKENS.iter().find(|begin| key.get(..begin.len()).is_some_and(|own| own.eq_ignore_ascii_case(begin)));
        let Some(begin) = after.filter(|_| !self.plain) else { return key.to_owned() };
        let (begin, rest) = key.split_at(begin.len());
        let end = rest.find("__").or_else(|| rest.find('.')).unwrap_or(rest.len());
        format!("{begin}{}{}", self.name(&rest[..end]), &rest[end..])
    }

    /// What a person wrote, of which no word is known.
    pub(super) fn free(&self, text: &str) -> String {
        if self.plain { text.to_owned() } else { format!("(a text of {} letters)", text.chars().count()) }
    }

    /// Whoever gave an order, with the name unknown: `os:NAME`, `token:NAME`.
    pub(super) fn actor(&self, actor: &str) -> String {
        match actor.split_once(':') {
            Some((sort @ ("os" | "token"), name)) => format!("{sort}:{}", self.name(name.split(' ').next().unwrap_or(name))),
            Some(_) | None => self.name(actor),
        }
    }

    /// Says that these are secrets.
    pub(super) fn hide(&mut self, secrets: &[SecretString]) {
        self.secrets = secrets.to_vec();
    }

    /// A text without secrets and names. Secrets first: of one that holds a name no more than a part would be found afterwards.
    pub(super) fn text(&self, text: &str) -> String {
        let text = without(text.to_owned(), &self.secrets);
        if self.plain {
            return text;
        }
        let mut out = String::with_capacity(text.len());
        // Every other part stood in quotes.
        for (at, part) in text.split('"').enumerate() {
            if at > 0 {
                out.push('"');
            }
            let quoted = at % 2 == 1 && !self.kept.contains(&fold(part));
            if quoted { out.push_str(&self.name(part)) } else { self.words(part, &mut out) }
        }
        out
    }

    fn words(&self, text: &str, out: &mut String) {
        let is_word = |c: char| c.is_alphanumeric() || "._@-+'".contains(c);
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            rest = after;
            if !is_word(first) {
                out.push_str(run);
                continue;
            }
            // A full stop that ends a sentence is none of the word.
            let word = run.trim_matches(|c: char| ".-'".contains(c));
            let (before, behind) = run.split_once(word).filter(|_| !word.is_empty()).unwrap_or((run, ""));
            let shown = if self.is_name(word) { self.name(word) } else { self.key(word) };
            out.push_str(before);
            out.push_str(if word.is_empty() { "" } else { &shown });
            out.push_str(behind);
        }
    }

    fn is_name(&self, word: &str) -> bool {
        let folded = fold(word);
        if self.kept.contains(&folded) || KEYS.iter().any(|key| folded.starts_with(key)) {
            return false;
        }
        let of_letters = |part: &str| part.chars().any(char::is_alphabetic);
        self.names.contains(&folded) || word.contains('@') || (word.contains('.') && word.split('.').all(of_letters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_words_and_loses_its_names() {
        let mut scrub = Scrub::new(false, ["jira".to_owned(), "jira.example.com".to_owned()].into()).expect("random");
        scrub.learn("ada");
        scrub.learn("00u1Abc");
        scrub.learn("Jira");
        let text =
            "00u1abc: jira could not create the user \"eve\": ada and bob.byron, zoe@example.com exist already (http.max_wait).";
        let told = scrub.text(text);
        // By whole words: a name of three letters may well be within one that was drawn.
        let words: Vec<String> = told.to_lowercase().split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect();
        for name in ["00u1abc", "eve", "ada", "bob", "byron", "zoe", "example"] {
            assert!(!words.iter().any(|word| word == name), "{name} is in {told}");
        }
        for kept in ["jira could not create the user \"", " and ", " exist already (http.max_wait)."] {
            assert!(told.contains(kept), "{kept} is not in {told}");
        }
        assert_eq!(
            scrub.text("it refused the connection to jira.example.com: 5 of 12 (1.5 s)..."),
            "it refused the connection to jira.example.com: 5 of 12 (1.5 s)..."
        );
        assert_eq!(scrub.name("Ada"), scrub.text("Ada"), "the same user is the same word");
        for key in ["daemon.tokens.eve", "daemon.tokens.eve.secret", "ROSTERD__DAEMON__TOKENS__EVE__MAY"] {
            let told = [scrub.key(key), scrub.text(&format!("{key} is not known"))];
            assert!(told.iter().all(|told| !told.to_lowercase().contains("eve")), "{told:?}");
        }
        assert_eq!(scrub.key("daemon.token"), "daemon.token");
        assert!(!scrub.actor("os:ada (as root)").contains("ada") && scrub.actor("token:ada").starts_with("token:"));
        let mut known = Scrub::new(false, BTreeSet::new()).expect("random");
        known.learn("ada");
        known.hide(&["ada:Tr0ub4dor".into()]);
        assert_eq!(known.text("refused ada:Tr0ub4dor"), "refused (secret)", "before its beginning is taken for a name");
        let plain = Scrub::new(true, BTreeSet::new()).expect("random");
        assert_eq!(plain.text(text), text);
    }
}
