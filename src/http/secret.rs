//! Secrets by reference: the configuration says where a secret is, never what it is.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::seen::Seen;
use crate::contract::settings::SettingsError;

/// Where a secret is: exactly one of the three.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SecretRef {
    /// The name of an environment variable.
    pub env: Option<String>,
    /// A file; a trailing line break is cut.
    pub file: Option<PathBuf>,
    /// The name of a systemd credential: a file in `$CREDENTIALS_DIRECTORY`.
    pub credential: Option<String>,
}

/// What is said of a secret in the place of a variable's name. It is not repeated.
const NO_VARIABLE: &str = "`env` takes the name of an environment variable, and what stands there cannot be one; if it is the \
    secret itself, put that into a variable, and replace it: it has stood in a file";

/// Whether a variable may be called so: <https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html>.
fn can_be_a_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text is shown that stands where the name of a variable is wanted. By custom such names have no small letters;
/// most secrets have some.
pub fn is_plainly_a_variable(name: &str) -> bool {
    can_be_a_variable(name) && !name.contains(|c: char| c.is_ascii_lowercase())
}

/// The same of the name of a credential: by custom small letters and hardly a digit.
pub fn is_plainly_a_credential(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    name.len() <= 64 && name.chars().all(is_plain) && name.chars().filter(char::is_ascii_digit).count() <= 4
}

/// The same of a file: a path that says so itself.
pub fn is_plainly_a_path(path: &str) -> bool {
    ["/", "./", "../"].iter().any(|root| path.starts_with(root)) && !path.contains(['+', '='])
}

const FORMS: &str = "write { env = \"VARIABLE\" }, { file = \"/path\" } or { credential = \"name\" }";

/// By hand, since the derived reader repeats what it did not expect: here, the secret of whoever wrote it inline.
impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RefVisitor)
    }
}

struct RefVisitor;

macro_rules! refuse_inline {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E: Error>(self, _value: $type) -> Result<Self::Value, E> {
            Err(E::custom(format_args!("a secret stands in the configuration itself; {FORMS}")))
        }
    )*};
}

impl<'de> Visitor<'de> for RefVisitor {
    type Value = SecretRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reference to a secret")
    }

    refuse_inline!(visit_str: &str, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64);

    /// The stand-in for a mistake that was reported already: no file can hold a nothing.
    fn visit_unit<E: Error>(self) -> Result<SecretRef, E> {
        Ok(SecretRef { env: None, file: None, credential: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretRef, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Places {
            env: Option<String>,
            file: Option<PathBuf>,
            credential: Option<String>,
        }
        let Places { env, file, credential } = Places::deserialize(MapAccessDeserializer::new(map))?;
        if env.as_deref().is_some_and(|name| !can_be_a_variable(name)) {
            return Err(A::Error::custom(NO_VARIABLE));
        }
        Ok(SecretRef { env, file, credential })
    }
}

/// Reads secrets. Holds no secret itself.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The environment to read from instead of the process's.
    env: Option<Arc<BTreeMap<String, String>>>,
    seen: Seen,
    stand_ins: bool,
}

/// What stands in for every secret where none is needed.
const STAND_IN: &str = "stand-in";

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Reads from the process's environment and file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads from this environment instead of the process's, and from the file system.
    pub fn with_env(env: BTreeMap<String, String>) -> Self {
        Self { env: Some(Arc::new(env)), ..Self::default() }
    }

    /// Reads nothing: every secret is a stand-in. For whoever looks at a configuration and speaks to no system, on a machine
    /// that has no business to hold the secrets.
    pub fn stand_ins() -> Self {
        Self { stand_ins: true, ..Self::default() }
    }

    /// Whether every secret is a stand-in.
    pub fn are_stand_ins(&self) -> bool {
        self.stand_ins
    }

    /// The files that were read, as they were. Whoever reads another file for a system notes it there too.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Reads a secret now.
    ///
    /// # Errors
    /// A variable that is unset or empty, a file that cannot be read or is empty, a reference that names none or several
    /// places; `key` is the reference's own key in its table.
    pub fn read(&self, key: &str, reference: &SecretRef) -> Result<SecretString, SettingsError> {
        let SecretRef { env, file, credential } = reference;
        if self.stand_ins {
            return Ok(SecretString::from(STAND_IN));
        }
        let text = match (env, file, credential) {
            (Some(name), None, None) => self.in_environment(key, name)?,
            (None, Some(path), None) => {
                warn_if_public(path);
                self.in_file(&format!("{key}.file"), path, path.to_str().is_some_and(is_plainly_a_path))?
            }
            (None, None, Some(name)) => self.in_credentials(key, name)?,
            (None, None, None) => return Err(SettingsError::one(key, "names no place for the secret").hint(FORMS)),
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                return Err(SettingsError::one(key, "names more than one place for the secret").hint(FORMS));
            }
        };
        self.seen.credential(&text);
        Ok(SecretString::from(text))
    }

    fn variable(&self, name: &str) -> Result<Option<String>, &'static str> {
        if let Some(env) = &self.env {
            return Ok(env.get(name).cloned());
        }
        match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err("is not UTF-8"),
        }
    }

    fn in_environment(&self, key: &str, name: &str) -> Result<String, SettingsError> {
        let key = format!("{key}.env");
        if !can_be_a_variable(name) {
            return Err(SettingsError::one(key, NO_VARIABLE));
        }
        let (shown, hint) = if is_plainly_a_variable(name) {
            let hint = "set it for the daemon: a shell's variables do not reach a unit or a container by themselves";
            (format!("variable {name}"), hint)
        } else {
            let hint = "set it for the daemon; if it is the secret itself, put that into a variable, and replace it: it has stood in a file";
            ("variable named here".to_owned(), hint)
        };
        match self.variable(name) {
            Ok(Some(value)) if !value.trim().is_empty() => Ok(value),
            Ok(Some(_)) => Err(SettingsError::one(key, format!("the environment {shown} is empty"))),
            Ok(None) => Err(SettingsError::one(key, format!("the environment {shown} is not set")).hint(hint)),
            Err(what) => Err(SettingsError::one(key, format!("the environment {shown} {what}"))),
        }
    }

    fn in_credentials(&self, key: &str, name: &str) -> Result<String, SettingsError> {
        let key = format!("{key}.credential");
        let shown = if is_plainly_a_credential(name) { name } else { "NAME" };
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(SettingsError::one(key, "what stands there cannot be the name of a credential"));
        }
        match self.variable("CREDENTIALS_DIRECTORY") {
            Ok(Some(directory)) if !directory.is_empty() => {
                let hint =
                    || format!("under systemd put it into the file that LoadCredential={shown}: names, and restart the unit");
                self.in_file(&key, &Path::new(&directory).join(name), is_plainly_a_credential(name))
                    .map_err(|error| error.hint(hint()))
            }
            Ok(_) | Err(_) => {
                Err(SettingsError::one(key, "CREDENTIALS_DIRECTORY is not set, so there are no credentials").hint(format!(
                    "add LoadCredential={shown}:/path/to/the/secret to the systemd unit; \
                     for a command by hand set CREDENTIALS_DIRECTORY to the folder of the secrets"
                )))
            }
        }
    }

    /// Reads a file and cuts one trailing line break, which editors and `echo` add. Its name is told only where it plainly is one:
    /// it may be the secret itself.
    fn in_file(&self, key: &str, path: &Path, is_plain: bool) -> Result<String, SettingsError> {
        let shown = if is_plain { path.display().to_string() } else { "the file named here".to_owned() };
        let read = std::fs::read(path);
        self.seen.note(path, read.as_deref().ok());
        let read = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData.into()));
        let mut text = read.map_err(|e| {
            SettingsError::one(key, format!("cannot read {shown}: {e}")).hint("check the path and its permissions")
        })?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.trim().is_empty() {
            return Err(SettingsError::one(key, format!("{shown} is empty")));
        }
        Ok(text)
    }
}

/// Says once for each file that everybody on the machine can read the secret.
fn warn_if_public(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    static WARNED: Mutex<std::collections::BTreeSet<PathBuf>> = Mutex::new(std::collections::BTreeSet::new());

    let public = std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0);
    if public && WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
        tracing::warn!(secret.file = %path.display(), "every user of this machine can read a secret file; chmod 0600 would stop that");
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn secrets(env: &[(&str, &str)]) -> Secrets {
        Secrets::with_env(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn variable(name: &str) -> SecretRef {
        SecretRef { env: Some(name.to_owned()), file: None, credential: None }
    }

    fn place(json: serde_json::Value) -> SecretRef {
        serde_json::from_value(json).expect("valid")
    }

    #[test]
    fn a_variable_is_read_and_an_empty_or_missing_one_is_a_finding() {
        let secrets = secrets(&[("TOKEN", "00a"), ("EMPTY", " ")]);
        let read = |name: &str| secrets.read("auth.token", &variable(name));
        assert_eq!(read("TOKEN").expect("set").expose_secret(), "00a");
        for name in ["EMPTY", "MISSING", "", "A=B"] {
            assert_eq!(read(name).expect_err("not there").0[0].key, "auth.token.env", "{name:?}");
        }
    }

    #[test]
    fn a_file_loses_one_line_break_and_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        for (content, secret) in [("00a", "00a"), ("00a\n", "00a"), ("00a\r\n", "00a"), ("a\nb\n\n", "a\nb\n")] {
            let path = folder.path().join("token");
            std::fs::write(&path, content).expect("written");
            let read = secrets(&[]).read("token", &place(serde_json::json!({ "file": path }))).expect("readable");
            assert_eq!(read.expose_secret(), secret);
        }
        std::fs::write(folder.path().join("token"), "\n").expect("written");
        for name in ["token", "missing"] {
            let reference = place(serde_json::json!({ "file": folder.path().join(name) }));
            assert_eq!(secrets(&[]).read("token", &reference).expect_err("nothing there").0[0].key, "token.file");
        }
    }

    #[test]
    fn a_credential_is_a_file_of_systemds_folder_and_cannot_leave_it() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("okta"), "00a\n").expect("written");
        let secrets_there = secrets(&[("CREDENTIALS_DIRECTORY", folder.path().to_str().expect("text"))]);
        let read = |secrets: &Secrets, name: &str| secrets.read("t", &place(serde_json::json!({ "credential": name })));
        assert_eq!(read(&secrets_there, "okta").expect("there").expose_secret(), "00a");
        for name in ["../okta", "..", ".", "", "/etc/passwd", "missing"] {
            assert_eq!(read(&secrets_there, name).expect_err("not there").0[0].key, "t.credential", "{name:?}");
        }
        let unset = read(&secrets(&[]), "okta").expect_err("no folder");
        assert!(unset.0[0].hint.as_deref().is_some_and(|h| h.contains("LoadCredential=okta:/path/to/the/secret")), "{unset:?}");
        std::fs::write(folder.path().join("empty"), "\n").expect("written");
        let empty = read(&secrets_there, "empty").expect_err("nothing in it");
        assert!(empty.0[0].hint.as_deref().is_some_and(|h| h.contains("LoadCredential=empty:")), "{empty:?}");
    }

    #[test]
    fn a_reference_names_exactly_one_place() {
        for wrong in [serde_json::json!({}), serde_json::json!({ "env": "A", "file": "b" })] {
            assert_eq!(secrets(&[("A", "x")]).read("t", &place(wrong)).expect_err("ambiguous").0[0].key, "t");
        }
    }

    #[test]
    fn an_inline_secret_is_refused_without_being_repeated() {
        for inline in
            [serde_json::json!("hunter2"), serde_json::json!(4711), serde_json::json!(true), serde_json::json!(["hunter2"])]
        {
            let error = serde_json::from_value::<SecretRef>(inline).expect_err("inline").to_string();
            assert!(!error.contains("hunter2") && !error.contains("4711"), "{error}");
        }
        // The secret in the place of the name of its variable: an Okta token, a personal access token, a password.
        for pasted in ["00hunter2-hunter2_", "aHVudGVyMg+hunter2==", "hunter2 hunter2", "https://hooks.example.com/hunter2", ""] {
            let error = serde_json::from_value::<SecretRef>(serde_json::json!({ "env": pasted })).expect_err("no name");
            assert!(error.to_string().contains("replace it") && !error.to_string().contains("hunter2"), "{error}");
        }
        // What might be a name is looked for, and is repeated only where it looks like one.
        let unset = secrets(&[]).read("auth.token", &variable("aHVudGVyMghunter2")).expect_err("not there");
        assert!(unset.to_string().contains("is not set") && !unset.to_string().contains("hunter2"), "{unset}");
        let unset = secrets(&[]).read("auth.token", &variable("JIRA_TOKEN")).expect_err("not there");
        assert!(unset.to_string().contains("JIRA_TOKEN is not set"), "{unset}");
        for pasted in
            [serde_json::json!({ "file": "aHVudGVyMg/hunter2" }), serde_json::json!({ "credential": "00hunter2-Hunter2" })]
        {
            let folder = secrets(&[("CREDENTIALS_DIRECTORY", "/nowhere")]);
            for secrets in [&secrets(&[]), &folder] {
                let unread = secrets.read("t", &place(pasted.clone())).expect_err("not there");
                assert!(!unread.to_string().to_lowercase().contains("hunter2"), "{unread}");
                assert!(!format!("{:?}", unread.0[0].hint).to_lowercase().contains("hunter2"), "{unread:?}");
            }
        }
        let kit = secrets(&[("TOKEN", "hunter2")]);
        assert_eq!(format!("{kit:?}"), "Secrets");
    }
}
