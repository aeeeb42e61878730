//! What is wrong in a configuration, and how it is shown: file, line and column, the line itself with the offending part
//! underlined, the key, and advice. An admin should never have to search for the place or guess the remedy.

use std::fmt::{self, Write as _};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is taken; a person should look.
    Warning,
}

/// Where it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file.
    File {
        /// The file as it was named.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// The column of the first offending character, from 1.
        column: usize,
        /// How many characters offend.
        width: usize,
        /// The line's text. What may be a secret is masked.
        text: String,
    },
    /// In an environment variable.
    Variable {
        /// Its name.
        name: String,
    },
    /// In a file as a whole: it cannot be read, or a section is missing.
    Whole {
        /// The file as it was named.
        file: String,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// The path of the key, such as `jobs.staff.schedule`; empty where the text is not TOML.
    pub key: String,
    /// What is wrong, with the offending text unless it may be a secret.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    /// The file, if it is in one.
    pub fn file(&self) -> Option<&str> {
        match &self.place {
            Place::File { file, .. } | Place::Whole { file } => Some(file),
            Place::Variable { .. } => None,
        }
    }

    /// The line in the file, from 1, if there is one.
    pub fn line(&self) -> Option<usize> {
        match &self.place {
            Place::File { line, .. } => Some(*line),
            Place::Whole { .. } | Place::Variable { .. } => None,
        }
    }

    /// The part of the line that offends, masked where it may be a secret.
    pub fn offending(&self) -> String {
        match &self.place {
            Place::File { column, width, text, .. } => text.chars().skip(column - 1).take(*width).collect(),
            Place::Whole { .. } | Place::Variable { .. } => String::new(),
        }
    }

    /// Renders it over several lines, as compilers do.
    pub fn render(&self, color: bool) -> String {
        let paint = Paint { color };
        let (word, style) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let mut out = String::new();
        let _ = writeln!(out, "{}{}", paint.with(style, word), paint.with("1", &format!(": {}", self.what)));
        let gutter = self.excerpt(&paint, style, &mut out);
        if !self.key.is_empty() {
            let _ = writeln!(out, "{gutter} {} key:  {}", paint.with("1;34", "="), self.key);
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "{gutter} {} hint: {hint}", paint.with("1;34", "="));
        }
        out
    }

    /// Writes the place and returns the margin that the lines after it keep.
    fn excerpt(&self, paint: &Paint, style: &str, out: &mut String) -> String {
        let arrow = paint.with("1;34", "-->");
        match &self.place {
            Place::Whole { file } => {
                let _ = writeln!(out, " {arrow} {file}");
                " ".into()
            }
            Place::Variable { name } => {
                let _ = writeln!(out, " {arrow} environment variable {name}");
                " ".into()
            }
            Place::File { file, line, column, width, text } => {
                let number = line.to_string();
                let gutter = " ".repeat(number.len());
                let bar = paint.with("1;34", "|");
                let carets = paint.with(style, &"^".repeat(*width));
                let _ = writeln!(out, "{gutter}{arrow} {file}:{line}:{column}");
                let _ = writeln!(out, "{gutter} {bar}");
                let _ = writeln!(out, "{} {bar} {text}", paint.with("1;34", &number));
                let _ = writeln!(out, "{gutter} {bar} {}{carets}", " ".repeat(column - 1));
                gutter
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { file, line, column, .. } => write!(f, "{file}:{line}:{column}: ")?,
            Place::Whole { file } => write!(f, "{file}: ")?,
            Place::Variable { name } => write!(f, "{name}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// A configuration that is refused, with everything that is wrong in it, in the order of the files' lines. Warnings are
/// among the findings, since who mends the file wants to know them too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Everything that was found. At least one is an error.
    pub findings: Vec<Finding>,
}

impl ConfigError {
    /// Renders all findings and a count, for a terminal. Ends with a line break.
    pub fn render(&self, color: bool) -> String {
        let mut out = render(&self.findings, color);
        let errors = self.findings.iter().filter(|f| f.severity == Severity::Error).count();
        let warnings = self.findings.len() - errors;
        let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let _ = match warnings {
            0 => writeln!(out, "{}; the configuration is not used", count(errors, "error")),
            _ => writeln!(out, "{}, {}; the configuration is not used", count(errors, "error"), count(warnings, "warning")),
        };
        out
    }
}

/// Renders findings one after the other, for a terminal.
pub fn render(findings: &[Finding], color: bool) -> String {
    findings.iter().map(|finding| finding.render(color) + "\n").collect()
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error);
        f.write_str(&errors.map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }
}

impl std::error::Error for ConfigError {}

/// Colours, or none.
struct Paint {
    color: bool,
}

impl Paint {
    fn with(&self, style: &str, text: &str) -> String {
        if self.color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
