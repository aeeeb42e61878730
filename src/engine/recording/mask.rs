//! Pseudonyms of words: a keyed hash of each word in small letters, in the case of the word.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::model::key::{SourceKey, TargetKey, fold};

/// A key. Whoever makes one draws it at random and forgets it.
pub type Key = [u8; 32];

/// The letters of a pseudonym: enough that two of a million words hardly ever share one.
const LETTERS: usize = 10;
/// The digits of the pseudonym of a number.
const DIGITS: usize = 12;

/// Makes pseudonyms.
pub struct Mask {
    key: Key,
    kept: BTreeSet<String>,
    shared: BTreeSet<String>,
    /// Words that have theirs already.
    known: Mutex<HashMap<String, String>>,
}

impl Mask {
    /// By a key; these words stay as they are, and these mail domains whole.
    pub fn new(key: &Key, kept: BTreeSet<String>, shared: BTreeSet<String>) -> Self {
        Self { key: *key, kept, shared, known: Mutex::default() }
    }

    /// The number that stands for a text of some sort.
    pub fn number(&self, of: &str, text: &str) -> u64 {
        let digest = Sha256::new().chain_update(self.key).chain_update(of).chain_update([0]).chain_update(text).finalize();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    pub(super) fn source(&self, key: &SourceKey) -> SourceKey {
        SourceKey::from(format!("u{:016x}", self.number("source", key.as_str())))
    }

    pub(super) fn account(&self, key: &TargetKey) -> TargetKey {
        TargetKey::from(format!("k{:016x}", self.number("target", key.as_str())))
    }

    /// A text word by word. The domain of an address stays whole if it is shared.
    pub fn text(&self, text: &str) -> SmolStr {
        match text.rsplit_once('@') {
            Some((local, domain)) if self.shared.contains(&fold(domain)) => format!("{}@{domain}", self.words(local)).into(),
            Some(_) | None => self.words(text).into(),
        }
    }

    fn words(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len() * 2);
        for (class, run) in runs(text) {
            match class {
                Class::Other => masked.push_str(run),
                Class::Letters | Class::Digits if self.kept.contains(&fold(run)) => masked.push_str(run),
                Class::Letters => masked.push_str(&cased(run, &self.letters(&fold(run)))),
                Class::Digits => masked.push_str(&self.digits(run)),
            }
        }
        masked
    }

    /// As many small letters as the word has, at least [`LETTERS`].
    fn letters(&self, folded: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(letters) = known.get(folded) {
            return letters.clone();
        }
        let length = folded.chars().count().max(LETTERS);
        let mut letters = String::with_capacity(length);
        while letters.len() < length {
            let mut number = self.number("word", &format!("{}/{folded}", letters.len()));
            for _ in 0..LETTERS.min(length - letters.len()) {
                letters.push(char::from(b'a' + (number % 26) as u8));
                number /= 26;
            }
        }
        known.insert(folded.to_owned(), letters.clone());
        letters
    }

    /// The first is no zero, so that a number stays one.
    fn digits(&self, run: &str) -> String {
        let span = 10u64.pow(DIGITS as u32 - 1);
        (span + self.number("digits", run) % (9 * span)).to_string()
    }

    pub(super) fn texts(&self, text: Option<&str>) -> Option<SmolStr> {
        text.map(|text| self.text(text))
    }

    pub(super) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text).into()),
            Value::Number(number) => {
                let digits = self.digits(&number.to_string());
                digits.parse::<u64>().map_or(Value::Null, Value::from)
            }
            Value::Array(list) => Value::Array(list.iter().map(|value| self.value(value)).collect()),
            Value::Object(table) => Value::Object(table.iter().map(|(key, value)| (key.clone(), self.value(value))).collect()),
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }
}

/// The words of a text in small letters.
pub(super) fn words(text: &str) -> Vec<String> {
    runs(text).into_iter().filter(|(class, _)| *class != Class::Other).map(|(_, run)| fold(run)).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letters,
    Digits,
    Other,
}

fn class(c: char) -> Class {
    match c {
        c if c.is_alphabetic() => Class::Letters,
        c if c.is_numeric() => Class::Digits,
        _ => Class::Other,
    }
}

/// A text in runs of letters, of digits, and of what is between.
fn runs(text: &str) -> Vec<(Class, &str)> {
    let mut runs = Vec::new();
    let mut from = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        let next = chars.peek().map_or((text.len(), None), |(at, next)| (*at, Some(class(*next))));
        if next.1 != Some(class(c)) {
            runs.push((class(c), &text[from..next.0]));
            from = next.0;
        }
    }
    runs
}

/// Small letters in the case of a word: all small, all capital, with a capital, or as the word goes.
fn cased(word: &str, letters: &str) -> String {
    let capitals: Vec<bool> = word.chars().map(char::is_uppercase).collect();
    match &capitals[..] {
        [true, rest @ ..] if !rest.contains(&true) => letters[..1].to_uppercase() + &letters[1..],
        all if !all.contains(&true) => letters.to_owned(),
        all if !all.contains(&false) => letters.to_uppercase(),
        all => letters.chars().enumerate().map(|(at, c)| if all[at % all.len()] { c.to_ascii_uppercase() } else { c }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Mask {
        Mask::new(&[7; 32], ["svc".to_owned()].into(), ["example.com".to_owned()].into())
    }

    #[test]
    fn what_is_equal_stays_equal_and_what_a_rule_makes_of_it_too() {
        let mask = mask();
        let of = |text: &str| mask.text(text).to_string();
        assert_eq!(of("ada.lovelace"), of("Ada.Lovelace").to_lowercase());
        assert_eq!(of("ada.lovelace@example.com"), format!("{}@example.com", of("ada.lovelace")));
        assert_eq!(of("Ada Lovelace"), format!("{} {}", of("Ada"), of("Lovelace")));
        assert_eq!(of("ADA").to_lowercase(), of("ada"));
        assert_eq!(of("McDonald").to_lowercase(), of("mcdonald"));
        assert_eq!(of("svc-build7").split_once('-').map(|(svc, _)| svc.to_owned()), Some("svc".to_owned()));
        assert_ne!(of("ada"), of("eda"));
        assert_ne!(of("1001"), of("1002"));
        assert!(of("1001").parse::<u64>().is_ok_and(|number| number > 1));
    }

    #[test]
    fn nothing_of_a_person_is_left() {
        let mask = mask();
        for (text, left) in
            [("Ada Lovelace", "lovelace"), ("ada@lovelace.name", "lovelace"), ("zoë.müller", "müller"), ("4711", "4711")]
        {
            let masked = mask.text(text);
            assert!(!fold(&masked).contains(left), "{masked}");
        }
        let profile = serde_json::json!({"costCenter": "R&D 4711", "manager": {"name": "Ada"}, "remote": true, "level": 4});
        let masked = mask.value(&profile);
        assert!(masked["costCenter"] != profile["costCenter"] && masked["manager"]["name"] != "Ada" && masked["level"] != 4);
        assert_eq!(masked["remote"], true);
    }

    #[test]
    fn a_long_word_keeps_its_case_variants_apart_and_one() {
        let mask = mask();
        let (one, other) = (mask.text("MacAlisterFergusson"), mask.text("MacAlisterfergusson"));
        assert_ne!(one, other);
        assert_eq!(fold(&one), fold(&other));
        assert_eq!(mask.text(""), "");
    }
}
