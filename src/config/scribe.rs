//! Writes findings down while a configuration is checked: with their places, without those that only follow from others.

use std::time::Duration;

use chrono_tz::Tz;

use super::checked::Checks;
use super::finding::{Finding, Severity};
use super::layers::{Layers, Part};
use crate::contract::settings::path::KeyPath;
use crate::contract::settings::{INLINE_SECRET, SettingsFinding, THREE_WAYS, is_secret, near};
use crate::http::secret::SecretRef;

/// The longest time that a configuration may ask for. Longer is a slip of the unit, and would overflow dates.
const LONGEST: Duration = Duration::from_secs(3660 * 24 * 3600);

pub(super) struct Scribe<'a> {
    pub(super) layers: Layers,
    pub(super) checks: &'a Checks<'a>,
    holes: Vec<KeyPath>,
    findings: Vec<(KeyPath, Finding)>,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(layers: &Layers, checks: &'a Checks<'a>) -> Self {
        Self { layers: layers.clone(), checks, holes: Vec::new(), findings: Vec::new() }
    }

    /// Passes over everything at or below a path: its value is a stand-in.
    pub(super) fn overlook(&mut self, holes: impl IntoIterator<Item = KeyPath>) {
        self.holes.extend(holes);
    }

    /// A mistake at a value.
    pub(super) fn error(&mut self, path: &KeyPath, what: impl Into<String>, hint: impl Into<Option<String>>) {
        self.note(Severity::Error, path, Part::Value, what.into(), hint.into());
    }

    /// A mistake that is the key's.
    pub(super) fn error_at_key(&mut self, path: &KeyPath, what: impl Into<String>, hint: impl Into<Option<String>>) {
        self.note(Severity::Error, path, Part::Key, what.into(), hint.into());
    }

    /// Something to look at that is the key's.
    pub(super) fn warn_at_key(&mut self, path: &KeyPath, what: impl Into<String>, hint: impl Into<Option<String>>) {
        self.note(Severity::Warning, path, Part::Key, what.into(), hint.into());
    }

    /// Mistakes found in a table that stands at a path. Secrets are hidden first: they may stand in the lines of others.
    pub(super) fn settings(&mut self, table: &KeyPath, findings: Vec<SettingsFinding>) {
        for secret in findings.iter().filter(|finding| finding.what == INLINE_SECRET) {
            self.layers.hide(&table.join(&KeyPath::parse(&secret.key)));
        }
        for finding in findings {
            // Of a stand-in nothing is to be said: it is not the secret that is wrong.
            let stand_in = self.checks.kit.secrets.are_stand_ins() && finding.what != INLINE_SECRET;
            if stand_in && is_secret(&table.join(&KeyPath::parse(&finding.key))) {
                continue;
            }
            self.setting(table, finding);
        }
    }

    fn setting(&mut self, table: &KeyPath, finding: SettingsFinding) {
        let path = table.join(&KeyPath::parse(&finding.key));
        // A connector that meets an inline secret says so in words of its own.
        let same = |other: &Finding| other.what == finding.what || other.what == INLINE_SECRET;
        let known = |(known, other): &(KeyPath, Finding)| *known == path && same(other);
        if self.findings.iter().any(known) {
            return;
        }
        let part = if finding.what.starts_with("unknown key") { Part::Key } else { Part::Value };
        self.note(Severity::Error, &path, part, finding.what, finding.hint);
    }

    /// A secret that stands in the configuration.
    pub(super) fn inline_secret(&mut self, path: &KeyPath) {
        let (what, hint) = (INLINE_SECRET.into(), Some(THREE_WAYS.into()));
        self.settings(path, vec![SettingsFinding { key: String::new(), what, hint }]);
    }

    fn note(&mut self, severity: Severity, path: &KeyPath, part: Part, what: String, hint: Option<String>) {
        if self.holes.iter().any(|hole| path.is_within(hole)) {
            return;
        }
        let place = self.layers.place(path, part);
        let finding = Finding { severity, place, key: path.to_string(), what, hint };
        self.findings.push((path.clone(), finding));
    }

    /// Whether there is anything that forbids the configuration.
    pub(super) fn refuses(&self) -> bool {
        self.findings.iter().any(|(_, finding)| finding.severity == Severity::Error)
    }

    /// Everything found, in the order of the file.
    pub(super) fn finish(self) -> Vec<Finding> {
        let Self { layers: _, checks: _, holes: _, findings } = self;
        let mut findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).collect();
        findings.sort_by(|a, b| (&a.place, &a.key, a.severity).cmp(&(&b.place, &b.key, b.severity)));
        findings
    }

    /// A time span, or what holds without one.
    pub(super) fn duration(&mut self, path: &KeyPath, text: Option<&str>, default: Duration) -> Duration {
        let Some(text) = text else { return default };
        match humantime::parse_duration(text) {
            Ok(span) if span > LONGEST => {
                self.error(path, format!("{text:?} is longer than ten years"), None);
                default
            }
            Ok(span) => span,
            Err(error) => {
                let what = format!("{text:?} is not a time span: {error}");
                self.error(path, what, r#"write a number and a unit: "30s", "15m", "6h", "2d""#.to_owned());
                default
            }
        }
    }

    /// A time zone, or what holds without one.
    pub(super) fn timezone(&mut self, path: &KeyPath, text: Option<&str>, default: Tz) -> Tz {
        let Some(text) = text else { return default };
        if let Ok(zone) = text.parse() {
            return zone;
        }
        let known = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let folded = text.replace(' ', "_");
        let city = known().find(|name| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&folded)));
        let near = city.or_else(|| near::nearest(&folded, known()));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => r#"use a name of the IANA time zone database, such as "Europe/Berlin" or "UTC""#.to_owned(),
        };
        self.error(path, format!("unknown time zone {text:?}"), hint);
        default
    }

    /// A number from 0 to 1, or what holds without one.
    pub(super) fn share(&mut self, path: &KeyPath, given: Option<f64>, default: f64) -> f64 {
        let Some(share) = given else { return default };
        if (0.0..=1.0).contains(&share) {
            return share;
        }
        let hint = if share > 1.0 && share <= 100.0 {
            format!("a share is written as a part of one: {}", share / 100.0)
        } else {
            "a share is written as a part of one: 0.10 is a tenth".to_owned()
        };
        self.error(path, format!("{share} is not a share from 0 to 1"), hint);
        default
    }

    /// An expression, which must parse.
    pub(super) fn expression(&mut self, path: &KeyPath, text: &str) {
        if text.trim().is_empty() {
            self.error(path, "the expression is empty", "leave the key out for the default".to_owned());
            return;
        }
        if text.contains("{{") {
            let hint = "write the expression without braces: it is not a template".to_owned();
            self.error(path, "the expression stands in braces", hint);
            return;
        }
        if let Err(why) = (self.checks.expression)(text) {
            self.error(path, format!("the expression cannot be understood: {why}"), None);
        }
    }

    /// A reference to a secret names exactly one place.
    pub(super) fn secret(&mut self, path: &KeyPath, reference: &SecretRef) {
        let given = [reference.env.is_some(), reference.file.is_some(), reference.credential.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            self.error(path, "a secret is in exactly one place", THREE_WAYS.to_owned());
        }
    }
}
