//! Pages, read to the last one or not at all. The `Link` header decides whether people are lost, so its reader takes
//! every form that the header has, and calls nothing the last page that it could not read.

use std::collections::BTreeSet;

use reqwest::header::{HeaderMap, LINK};

use crate::contract::fault::{ConnectorError, Fault};
use crate::model::key::SystemName;

/// The target of the `Link` header with `rel="next"`, whether the links come as several header lines or as one list, and
/// whatever commas stand inside `<…>`. The first line is often `self`: a reader of one line loses people. A line that
/// cannot be read but speaks of `next` gives an empty target, which [`super::api::Api::follow`] refuses.
pub fn next_link(headers: &HeaderMap) -> Option<String> {
    let mut unreadable = false;
    for line in headers.get_all(LINK) {
        match next_in(line.as_bytes()) {
            Ok(Some(target)) => return Some(target),
            Ok(None) => {}
            Err(Unreadable) => unreadable = true,
        }
    }
    unreadable.then(String::new)
}

/// A line that is not a list of links, and that speaks of `next`.
struct Unreadable;

fn next_in(line: &[u8]) -> Result<Option<String>, Unreadable> {
    let mut rest = Cursor(line);
    loop {
        rest.skip(|b| b.is_ascii_whitespace() || b == b',');
        if rest.0.is_empty() {
            return Ok(None);
        }
        let Some((target, is_next)) = rest.link() else {
            let speaks = line.windows(4).any(|word| word.eq_ignore_ascii_case(b"next"));
            return if speaks { Err(Unreadable) } else { Ok(None) };
        };
        if is_next {
            return String::from_utf8(target.to_vec()).map(Some).map_err(|_| Unreadable);
        }
    }
}

/// What is left of a line. <https://www.rfc-editor.org/rfc/rfc8288#section-3>
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn skip(&mut self, which: impl Fn(u8) -> bool) {
        self.take(which);
    }

    fn take(&mut self, which: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|b| !which(*b)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip(|b| b.is_ascii_whitespace());
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    /// One `<target>` with its parameters: the target, and whether one of the words of its first `rel` is `next`.
    fn link(&mut self) -> Option<(&'a [u8], bool)> {
        if !self.eat(b'<') {
            return None;
        }
        let target = self.take(|b| b != b'>');
        if !self.eat(b'>') {
            return None;
        }
        let mut rel: Option<Vec<u8>> = None;
        while self.eat(b';') {
            self.skip(|b| b.is_ascii_whitespace());
            let name = self.take(|b| !b.is_ascii_whitespace() && !matches!(b, b'=' | b';' | b','));
            let value = if self.eat(b'=') { self.value()? } else { Vec::new() };
            if name.eq_ignore_ascii_case(b"rel") && rel.is_none() {
                rel = Some(value);
            }
        }
        self.skip(|b| b.is_ascii_whitespace());
        if !self.0.is_empty() && !self.eat(b',') {
            return None;
        }
        let words = rel.unwrap_or_default();
        let is_next = words.split(u8::is_ascii_whitespace).any(|word| word.eq_ignore_ascii_case(b"next"));
        Some((target, is_next))
    }

    /// A token, or a quoted text with its escapes undone. `None` if the quote is not closed.
    fn value(&mut self) -> Option<Vec<u8>> {
        if !self.eat(b'"') {
            return Some(self.take(|b| !b.is_ascii_whitespace() && !matches!(b, b';' | b',')).to_vec());
        }
        let mut value = Vec::new();
        let mut bytes = self.0.iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                b'\\' => value.extend(bytes.next().map(|(_, escaped)| *escaped)),
                plain => value.push(*plain),
            }
        }
        None
    }
}

/// Watches over the cursors of one listing.
#[derive(Debug)]
pub struct Pages {
    system: SystemName,
    doing: String,
    seen: BTreeSet<String>,
}

impl Pages {
    /// Begins a listing.
    pub fn new(system: &SystemName, doing: impl Into<String>) -> Self {
        Self { system: system.clone(), doing: doing.into(), seen: BTreeSet::new() }
    }

    /// Notes the cursor of the next page.
    ///
    /// # Errors
    /// [`Fault::Incomplete`] if it was used before: the listing would never end, and what was read is not whole.
    pub fn turn(&mut self, cursor: impl Into<String>) -> Result<(), ConnectorError> {
        if self.seen.insert(cursor.into()) {
            return Ok(());
        }
        let why = format!("page {} names a next page that was read before, so the listing would never end", self.seen.len() + 1);
        Err(ConnectorError::new(&self.system, &*self.doing, Fault::Incomplete, why))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn next(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, HeaderValue::from_bytes(line.as_bytes()).expect("valid"));
        }
        next_link(&headers)
    }

    #[test]
    fn the_second_of_two_link_lines_is_read() {
        let lines = [
            "<https://a.okta.com/api/v1/users?limit=2>; rel=\"self\"",
            "<https://a.okta.com/api/v1/users?after=x>; rel=\"next\"",
        ];
        assert_eq!(next(&lines).as_deref(), Some("https://a.okta.com/api/v1/users?after=x"));
    }

    #[test]
    fn one_list_is_read_past_the_commas_inside_its_targets() {
        let line = "<https://a/u?fields=id,status>; rel=\"self\", <https://a/u?fields=id,status&after=x>; rel=\"next\"";
        assert_eq!(next(&[line]).as_deref(), Some("https://a/u?fields=id,status&after=x"));
    }

    #[test]
    fn rel_may_hold_several_words_in_any_case_quoted_or_not() {
        assert_eq!(next(&["<x>;rel=next"]).as_deref(), Some("x"));
        assert_eq!(next(&["<x> ; title=\"a, <b>; rel=\\\"prev\\\"\" ; REL = \"last NEXT\""]).as_deref(), Some("x"));
        assert_eq!(next(&["<x>; rel=\"prev\"; rel=\"next\""]), None, "only the first rel counts");
        assert_eq!(next(&["<x>; rel=\"nextish\"", "<y>; crossorigin; rel=self"]), None);
        assert_eq!(next(&[]), None);
    }

    #[test]
    fn a_line_that_speaks_of_next_but_cannot_be_read_is_not_the_last_page() {
        for line in ["<https://a/u?after=x; rel=\"next\"", "https://a/u?after=x; rel=next", "<x>; rel=\"next", "<x> y; rel=next"]
        {
            assert_eq!(next(&[line]).as_deref(), Some(""), "{line}");
        }
        assert_eq!(next(&["garbage"]), None);
    }

    #[test]
    fn a_cursor_that_repeats_voids_the_listing() {
        let mut pages = Pages::new(&"okta".into(), "list users");
        pages.turn("a").expect("new");
        pages.turn("b").expect("new");
        let error = pages.turn("a").expect_err("seen");
        assert_eq!(error.fault, Fault::Incomplete);
        assert_eq!(
            error.to_string(),
            "okta could not list users: page 3 names a next page that was read before, so the listing would never end"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..4)) {
            let mut headers = HeaderMap::new();
            for line in lines {
                let _ = next_in(&line);
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append(LINK, value);
                }
            }
            let _ = next_link(&headers);
        }

        #[test]
        fn a_next_link_is_found_wherever_it_stands(before in 0usize..4, target in "[a-z0-9,;=&?/%\"]{1,30}") {
            let mut parts = vec!["<https://a/self,b>; rel=\"self\"; title=\"x, y\"".to_owned(); before];
            parts.push(format!("<{target}>; rel=\"next\""));
            prop_assert_eq!(next(&[&parts.join(",")]), Some(target));
        }
    }
}
