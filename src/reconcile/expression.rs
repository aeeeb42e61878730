//! Expressions over a source record, for filters and attribute mapping. MiniJinja expressions, not templates: a template
//! would print `None` into somebody's display name.
//!
//! Names: `id`, `login`, `email`, `first_name`, `last_name`, `display_name`, `full_name`, `status`, `groups` (names), and
//! `profile` with the source's own attributes. What a record lacks is *undefined*. In an attribute's expression it may be
//! tested (`email or ...`), but a filter or a concatenation over it fails, and the user is set aside rather than written
//! with a hole in its name. In a condition it is lenient: what is missing equals nothing and counts as empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use minijinja::value::{Rest, Serde, Value, ValueKind};
use minijinja::{Environment, UndefinedBehavior};
use smol_str::SmolStr;

use crate::model::roster::SourceUser;

/// The names that an expression may use.
pub const NAMES: [&str; 10] =
    ["id", "login", "email", "first_name", "last_name", "display_name", "full_name", "status", "groups", "profile"];

static ATTRIBUTES: LazyLock<Environment<'static>> = LazyLock::new(|| environment(UndefinedBehavior::SemiStrict));
static CONDITIONS: LazyLock<Environment<'static>> = LazyLock::new(|| environment(UndefinedBehavior::Lenient));

fn environment(missing: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(missing);
    // Stops an expression that never ends; far over what a mapping needs.
    environment.set_fuel(Some(20_000));
    environment.add_filter("before", before);
    environment.add_filter("after", after);
    environment.add_filter("ascii", |text: String| ascii(&text));
    environment.add_filter("regex_replace", regex_replace);
    environment
}

/// The part before the first separator; all of it where there is none.
fn before(text: String, separator: String) -> String {
    text.split_once(separator.as_str()).map_or(text.clone(), |(head, _)| head.to_owned())
}

/// The part after the first separator; nothing where there is none.
fn after(text: String, separator: String) -> String {
    text.split_once(separator.as_str()).map_or(String::new(), |(_, tail)| tail.to_owned())
}

/// What a replacement may grow to. The engine charges for a filter's result only once it is there, so that what is too
/// large must not come to be.
const LARGEST: usize = 64 * 1024;

/// What a compiled pattern may take, in bytes: compiling is done for each record, and is slow for a large one.
const LARGEST_PATTERN: usize = 2 * 1024 * 1024;

/// Marks the fault of a pattern, which no record mends.
#[derive(Debug, thiserror::Error)]
#[error("the pattern cannot be used")]
struct BadPattern;

fn regex_replace(text: String, pattern: String, replacement: String, _more: Rest<Value>) -> Result<String, minijinja::Error> {
    let wrong = |why: String| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, format!("regex_replace: {why}"));
    let built = regex::RegexBuilder::new(&pattern).size_limit(LARGEST_PATTERN).build();
    let regex = built.map_err(|e| wrong(e.to_string()).with_source(BadPattern))?;
    let mut out = String::new();
    let mut rest = 0;
    for found in regex.captures_iter(&text) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[rest..whole.start()]);
        found.expand(&replacement, &mut out);
        rest = whole.end();
        if out.len() > LARGEST {
            return Err(wrong(format!("gives a text of more than {LARGEST} bytes")));
        }
    }
    out.push_str(&text[rest..]);
    Ok(out)
}

/// Writes common Latin letters with marks in plain letters and drops what is left outside ASCII.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ä' | 'æ' => out.push_str("ae"),
            'ö' | 'ø' | 'œ' => out.push_str("oe"),
            'ü' => out.push_str("ue"),
            'Ä' | 'Æ' => out.push_str("Ae"),
            'Ö' | 'Ø' | 'Œ' => out.push_str("Oe"),
            'Ü' => out.push_str("Ue"),
            'ß' => out.push_str("ss"),
            'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => out.push('a'),
            'À' | 'Á' | 'Â' | 'Ã' | 'Å' | 'Ā' | 'Ă' | 'Ą' => out.push('A'),
            'ç' | 'ć' | 'č' => out.push('c'),
            'Ç' | 'Ć' | 'Č' => out.push('C'),
            'ď' | 'đ' => out.push('d'),
            'Ď' | 'Đ' => out.push('D'),
            'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => out.push('e'),
            'È' | 'É' | 'Ê' | 'Ë' | 'Ē' | 'Ę' | 'Ě' => out.push('E'),
            'ğ' => out.push('g'),
            'Ğ' => out.push('G'),
            'ì' | 'í' | 'î' | 'ï' | 'ı' | 'ī' => out.push('i'),
            'Ì' | 'Í' | 'Î' | 'Ï' | 'İ' | 'Ī' => out.push('I'),
            'ł' => out.push('l'),
            'Ł' => out.push('L'),
            'ñ' | 'ń' | 'ň' => out.push('n'),
            'Ñ' | 'Ń' | 'Ň' => out.push('N'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ő' | 'ō' => out.push('o'),
            'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ő' | 'Ō' => out.push('O'),
            'ř' => out.push('r'),
            'Ř' => out.push('R'),
            'ś' | 'š' | 'ş' | 'ș' => out.push('s'),
            'Ś' | 'Š' | 'Ş' | 'Ș' => out.push('S'),
            'ť' | 'ţ' | 'ț' => out.push('t'),
            'Ť' | 'Ţ' | 'Ț' => out.push('T'),
            'ù' | 'ú' | 'û' | 'ű' | 'ů' | 'ū' => out.push('u'),
            'Ù' | 'Ú' | 'Û' | 'Ű' | 'Ů' | 'Ū' => out.push('U'),
            'ý' | 'ÿ' => out.push('y'),
            'Ý' => out.push('Y'),
            'ź' | 'ż' | 'ž' => out.push('z'),
            'Ź' | 'Ż' | 'Ž' => out.push('Z'),
            c if c.is_ascii() => out.push(c),
            _ => {}
        }
    }
    out
}

/// How many bytes an expression may have. A chain of operators nests as deep as it is long, and the engine goes down into it
/// on the stack: a longer one could end the process.
const LONGEST: usize = 4096;

/// An expression that does not parse, or names what does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ExpressionError {
    /// What is wrong.
    pub what: String,
    /// The bytes of the expression that are wrong, where known.
    pub range: Option<std::ops::Range<usize>>,
}

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    compiled: Arc<minijinja::Expression<'static, 'static>>,
    /// The name, if the expression is that alone, as most are: looked up without running anything.
    bare: Option<&'static str>,
    uses: Uses,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

/// What of a record an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    names: BTreeSet<String>,
    /// Attributes of `profile` by name.
    pub attributes: BTreeSet<String>,
    /// Whether `profile` is used as a whole.
    pub whole_profile: bool,
    /// Whether `groups` is used.
    pub groups: bool,
}

impl Uses {
    /// Everything that either reads.
    pub fn join(mut self, other: &Uses) -> Uses {
        self.names.extend(other.names.iter().cloned());
        self.attributes.extend(other.attributes.iter().cloned());
        self.whole_profile |= other.whole_profile;
        self.groups |= other.groups;
        self
    }
}

impl Expression {
    /// Compiles the expression of an attribute, and tries it once on a sample record, since an unknown filter shows itself
    /// only when it runs.
    ///
    /// # Errors
    /// Text that does not parse, a name that is not one of [`NAMES`], an unknown filter, test or function.
    pub fn new(text: &str) -> Result<Self, ExpressionError> {
        Self::within(&ATTRIBUTES, text)
    }

    /// Compiles a condition.
    ///
    /// # Errors
    /// As [`Expression::new`].
    pub fn condition(text: &str) -> Result<Self, ExpressionError> {
        Self::within(&CONDITIONS, text)
    }

    fn within(environment: &'static Environment<'static>, text: &str) -> Result<Self, ExpressionError> {
        if text.len() > LONGEST {
            return Err(ExpressionError { what: format!("an expression has at most {LONGEST} bytes"), range: None });
        }
        let compiled = environment.compile_expression_owned(text.to_owned()).map_err(|e| told(&e, text))?;
        let mut uses = Uses::default();
        // Asked for nested names, since the plain form overlooks a name that is only used through its attributes.
        let mut paths: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
        paths.sort_unstable();
        for path in paths {
            let (name, attribute) = path.split_once('.').map_or((path.as_str(), None), |(n, a)| (n, Some(a)));
            if !NAMES.contains(&name) {
                let range = text.find(name).map(|at| at..at + name.len());
                return Err(ExpressionError { what: format!("there is no `{name}`; there are {}", NAMES.join(", ")), range });
            }
            uses.groups |= name == "groups";
            uses.names.insert(name.to_owned());
            if name == "profile" {
                match attribute {
                    Some(attribute) => {
                        uses.attributes.insert(attribute.split('.').next().unwrap_or(attribute).to_owned());
                    }
                    None => uses.whole_profile = true,
                }
            }
        }
        let bare = NAMES.into_iter().find(|name| *name == text.trim());
        let expression = Self { text: text.into(), compiled: Arc::new(compiled), bare, uses };
        expression.rehearse()?;
        Ok(expression)
    }

    /// Runs once on a sample. Only what is wrong whatever the record holds counts: a missing attribute may well be there
    /// in a real record.
    fn rehearse(&self) -> Result<(), ExpressionError> {
        let mut sample: BTreeMap<&str, Value> = NAMES
            .iter()
            .filter(|n| **n != "profile" && **n != "groups")
            .map(|n| (*n, Value::from("sample@example.com")))
            .collect();
        sample.insert("groups", Value::from(vec!["sample".to_owned()]));
        let profile: BTreeMap<&str, &str> = self.uses.attributes.iter().map(|a| (a.as_str(), "sample")).collect();
        sample.insert("profile", Value::from(profile.into_iter().map(|(k, v)| (k, Value::from(v))).collect::<BTreeMap<_, _>>()));
        let of_a_pattern = |e: &minijinja::Error| std::error::Error::source(e).is_some_and(|source| source.is::<BadPattern>());
        match self.compiled.eval(Value::from(sample)) {
            Err(e) if of_a_pattern(&e) => Err(told(&e, &self.text)),
            Err(e)
                if matches!(
                    e.kind(),
                    minijinja::ErrorKind::UnknownFilter
                        | minijinja::ErrorKind::UnknownTest
                        | minijinja::ErrorKind::UnknownFunction
                        | minijinja::ErrorKind::OutOfFuel
                ) =>
            {
                Err(told(&e, &self.text))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What of a record it reads.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    fn eval(&self, record: &Record) -> Result<Value, String> {
        if let Some(name) = self.bare {
            return record.0.get_attr(name).map_err(|e| told(&e, &self.text).what);
        }
        self.compiled.eval(record.0.clone()).map_err(|e| told(&e, &self.text).what)
    }

    /// Evaluates to a text; `None` where the value is undefined, none, or an empty text. Numbers and booleans are written
    /// as JSON writes them.
    ///
    /// # Errors
    /// An evaluation that fails, or a list or map.
    pub fn text_of(&self, record: &Record) -> Result<Option<SmolStr>, String> {
        let value = self.eval(record)?;
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => Ok(None),
            ValueKind::String => {
                let text = value.as_str().unwrap_or_default().trim();
                Ok((!text.is_empty()).then(|| text.into()))
            }
            ValueKind::Number | ValueKind::Bool => Ok(Some(value.to_string().into())),
            kind => Err(format!("`{}` gives a {kind}, not a text", self.text)),
        }
    }

    /// Evaluates to yes or no, as a condition does: what is undefined, none, empty or zero is no.
    ///
    /// # Errors
    /// An evaluation that fails.
    pub fn holds(&self, record: &Record) -> Result<bool, String> {
        Ok(self.eval(record)?.is_true())
    }
}

fn told(error: &minijinja::Error, text: &str) -> ExpressionError {
    let what = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    // The engine's own may end after the text does.
    let range = error.range().filter(|range| text.get(range.clone()).is_some());
    ExpressionError { what, range }
}

/// A source record as expressions see it, made for those names that some expressions use.
#[derive(Clone, Debug)]
pub struct Record(Value);

impl Record {
    /// Makes a record of a user and the names of its groups.
    ///
    /// # Errors
    /// A profile that is not a JSON object.
    pub fn new(user: &SourceUser, groups: &[&str], uses: &Uses) -> Result<Self, String> {
        let mut names: BTreeMap<&'static str, Value> = BTreeMap::new();
        for name in NAMES.iter().filter(|n| uses.names.contains(**n)) {
            let value = match *name {
                "id" => Some(Value::from(user.key.as_str())),
                "login" => Some(Value::from(&*user.login)),
                "email" => user.email.as_deref().map(Value::from),
                "first_name" => user.first_name.as_deref().map(Value::from),
                "last_name" => user.last_name.as_deref().map(Value::from),
                "display_name" => user.display_name.as_deref().map(Value::from),
                "full_name" => Some(Value::from(full_name(user))),
                "status" => Some(Value::from(&*user.status)),
                "groups" => Some(Value::from(groups.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>())),
                _ => Some(profile(user)?),
            };
            if let Some(value) = value {
                names.insert(name, value);
            }
        }
        Ok(Self(Value::from(names)))
    }
}

/// The display name, else the given and family name as far as there are any, else the login.
pub fn full_name(user: &SourceUser) -> String {
    if let Some(name) = user.display_name.as_deref().map(str::trim).filter(|n| !n.is_empty()) {
        return name.to_owned();
    }
    let parts: Vec<&str> =
        [&user.first_name, &user.last_name].into_iter().flatten().map(|p| p.trim()).filter(|p| !p.is_empty()).collect();
    if parts.is_empty() { user.login.to_string() } else { parts.join(" ") }
}

/// The profile as a value, without attributes that are null: for an expression they are missing.
fn profile(user: &SourceUser) -> Result<Value, String> {
    let Some(text) = &user.profile else { return Ok(Value::from(BTreeMap::<String, Value>::new())) };
    let parsed: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| "the profile is not a JSON object".to_owned())?;
    Ok(Value::from(
        parsed.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, Value::from(Serde(v)))).collect::<BTreeMap<_, _>>(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::SourceKey;
    use crate::model::roster::Lifecycle;

    fn user() -> SourceUser {
        SourceUser {
            key: SourceKey::from("00u1"),
            login: "Ada.L@example.com".into(),
            email: None,
            first_name: Some("Ada".into()),
            last_name: None,
            display_name: None,
            status: "ACTIVE".into(),
            lifecycle: Lifecycle::Entitled,
            profile: Some(r#"{"userType":"staff","costCenter":null,"level":7,"tags":["a"]}"#.into()),
        }
    }

    fn text(expression: &str) -> Result<Option<SmolStr>, String> {
        let expression = Expression::new(expression).map_err(|e| e.what)?;
        let record = Record::new(&user(), &["eng"], expression.uses())?;
        expression.text_of(&record)
    }

    #[test]
    fn attributes_are_mapped_by_expressions() {
        assert_eq!(text("login | before('@') | lower"), Ok(Some("ada.l".into())));
        assert_eq!(text("full_name"), Ok(Some("Ada".into())));
        assert_eq!(text("profile.level"), Ok(Some("7".into())));
        assert_eq!(text("login | regex_replace('@.*$', '')"), Ok(Some("Ada.L".into())));
        assert_eq!(text("'Zoë Müller' | ascii"), Ok(Some("Zoe Mueller".into())));
    }

    #[test]
    fn a_missing_attribute_is_nothing_and_never_the_word_none() {
        assert_eq!(text("email"), Ok(None));
        assert_eq!(text("profile.costCenter"), Ok(None));
        assert_eq!(text("email or login"), Ok(Some("Ada.L@example.com".into())));
        assert!(text("email | lower").is_err());
        assert!(text("first_name ~ ' ' ~ last_name").is_err());
    }

    #[test]
    fn filters_decide_with_missing_attributes_too() {
        for (expression, expected) in [
            ("profile.userType != 'contractor'", true),
            ("profile.nothing != 'contractor'", true),
            ("profile.nothing == 'contractor'", false),
            ("'eng' in groups", true),
            ("email", false),
            ("status == 'ACTIVE' and login is endingwith('@example.com')", true),
        ] {
            let filter = Expression::condition(expression).expect(expression);
            let record = Record::new(&user(), &["eng"], filter.uses()).expect("record");
            assert_eq!(filter.holds(&record), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn an_expression_cannot_grow_without_bounds() {
        assert!(Expression::new(&format!("1{}", "+1".repeat(LONGEST))).is_err_and(|e| e.what.contains("at most 4096 bytes")));
        let grown = text("('a' * 1000) | regex_replace('a', 'b' * 1000)");
        assert!(grown.is_err_and(|why| why.contains("more than 65536 bytes")));
        let large = Expression::new("login | regex_replace('(\\\\w{1000}){1000}', '')");
        assert!(large.is_err_and(|e| e.what.contains("size limit")), "found before anybody is read");
        assert_eq!(text("login | regex_replace('^\\\\w{2,20}[.]', '')"), Ok(Some("L@example.com".into())), "that is none");
        assert!(Expression::new("login | regex_replace('(', '')").is_err_and(|e| e.what.contains("unclosed group")));
        assert_eq!(text("login | regex_replace('^(.)(.)', '$2${1}$$')"), Ok(Some("dA$a.L@example.com".into())));
        assert!(text("'x' * 1000000000").is_err());
        let unclosed = "'é | lower";
        assert!(Expression::new(unclosed).is_err_and(|e| e.range.is_none_or(|range| unclosed.get(range).is_some())));
    }

    #[test]
    fn mistakes_are_found_before_anybody_is_read() {
        assert!(Expression::new("usr.login").is_err_and(|e| e.what.contains("there is no `usr`")));
        assert!(Expression::new("login | nosuch").is_err_and(|e| e.what.contains("nosuch")));
        assert!(Expression::new("login |").is_err());
        assert!(Expression::new("range(100000) | list | length").is_err());
        let uses = Expression::new("profile.a ~ profile['b'] ~ login").expect("valid").uses().clone();
        assert!(uses.attributes.contains("a") || uses.whole_profile);
    }
}
