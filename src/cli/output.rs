//! Tables for people, JSON for programs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;

use super::exit::{Exit, Failure};
use crate::daemon::status::ago;

/// Whether colours may go to the error stream.
pub fn color_on_stderr() -> bool {
    std::io::stderr().is_terminal() && no_color_unset()
}

fn no_color_unset() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Prints a value as JSON to the standard output.
///
/// # Errors
/// If the standard output is closed.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    line(&text)
}

/// Prints a line to the standard output. A reader who went away (`| head`) is no failure.
///
/// # Errors
/// Any other failure to write.
pub fn line(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("cannot print: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One line below the header and no others: what is not there cannot be in the way of `grep` and `cut`.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table with these columns.
pub fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns);
    table
}

/// A table with these columns, of which the last so many hold numbers.
pub fn table_of_numbers(columns: &[&str], numbers: usize) -> Table {
    let mut table = table(columns);
    for at in columns.len().saturating_sub(numbers)..columns.len() {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints a table, or a word where it has no rows.
///
/// # Errors
/// If the standard output cannot be written to.
pub fn print(table: &Table, when_empty: &str) -> Result<(), Failure> {
    if table.row_count() == 0 {
        return line(when_empty);
    }
    table.lines().try_for_each(|text| line(text.trim_end()))
}

/// A word as a shell takes it, for commands that are shown to be copied.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@:+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A number with its word, in the plural where it is one.
pub fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// Texts about somebody or something, in order; the same said of several is one line: `ada, ben and 3 more: text`. What is said
/// of nobody stands alone.
pub fn grouped(said: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    const NAMED: usize = 4;
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (who, text) in said {
        let place = *places.entry(text.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, names)) => names.push(who),
            None => groups.push((text, vec![who])),
        }
    }
    let line = |(text, mut names): (String, Vec<String>)| {
        names.retain(|name| !name.is_empty());
        if names.is_empty() {
            return text;
        }
        match names.len().saturating_sub(NAMED) {
            0 => format!("{}: {text}", names.join(", ")),
            more => format!("{} and {more} more: {text}", names[..NAMED].join(", ")),
        }
    };
    groups.into_iter().map(line).collect()
}

/// A time as people read it, with the time gone by or to come.
pub fn time(at: chrono::DateTime<chrono::Utc>, now: chrono::DateTime<chrono::Utc>) -> String {
    let text = at.format("%Y-%m-%d %H:%M:%SZ");
    format!("{text} ({})", ago(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_to_be_copied_is_one_word_to_a_shell() {
        for (word, shown) in [
            ("ada.lovelace", "ada.lovelace"),
            ("eng-*", "'eng-*'"),
            ("R & D, old", "'R & D, old'"),
            ("o'neil", r"'o'\''neil'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn what_is_said_of_many_is_said_once() {
        let of = |who: &str, text: &str| (who.to_owned(), text.to_owned());
        let many = ["b", "c", "d", "e", "f"].map(|who| of(who, "has no address"));
        let lines = grouped([of("a", "has no address"), of("g", "is odd")].into_iter().chain(many));
        assert_eq!(lines, ["a, b, c, d and 2 more: has no address", "g: is odd"]);
        assert_eq!(grouped([of("", "another run is at work"), of("", "another run is at work")]), ["another run is at work"]);
    }
}
