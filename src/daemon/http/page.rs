//! Lists a page at a time: how much is asked for, and where the rest is.

use url::form_urlencoded::Serializer;

use super::problem::{Kind, Problem};

/// How many rows, of those that may be had at once.
///
/// # Errors
/// None, or too many.
pub fn limit(asked: Option<u32>, default: u32, most: u32) -> Result<u32, Problem> {
    match asked {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::new(Kind::Malformed, format!("limit: is a number from 1 to {most}"))),
    }
}

/// A text of a query that names something.
///
/// # Errors
/// One that no name is like.
pub fn name<T: for<'a> From<&'a str>>(key: &str, asked: Option<&str>) -> Result<Option<T>, Problem> {
    match asked {
        Some(text) if text.chars().any(char::is_control) => {
            Err(Problem::new(Kind::Malformed, format!("{key}: holds a control character")))
        }
        asked => Ok(asked.map(Into::into)),
    }
}

/// The address of a page.
pub fn address(path: &str, query: &[(&str, Option<String>)]) -> String {
    let mut pairs = Serializer::new(String::new());
    for (key, value) in query {
        if let Some(value) = value {
            pairs.append_pair(key, value);
        }
    }
    format!("{path}?{}", pairs.finish())
}

/// A part of a list that lies whole in memory.
#[derive(Debug)]
pub struct Slice<T> {
    /// The part.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub total: usize,
    /// Where the next part begins, if there is one.
    pub next: Option<u32>,
}

/// Cuts a part out.
pub fn slice<T>(all: Vec<T>, offset: u32, limit: u32) -> Slice<T> {
    let total = all.len();
    let rows: Vec<T> = all.into_iter().skip(offset as usize).take(limit as usize).collect();
    let end = offset.saturating_add(limit);
    Slice { rows, total, next: ((end as usize) < total).then_some(end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_told_whole_over_its_pages() {
        let (mut told, mut at) = (Vec::new(), Some(0));
        while let Some(offset) = at {
            let Slice { rows, total, next } = slice((0..25).collect(), offset, 10);
            assert_eq!(total, 25);
            told.extend(rows);
            at = next;
        }
        assert_eq!(told, (0..25).collect::<Vec<_>>());
        let beyond = slice(vec![1], u32::MAX, u32::MAX);
        assert_eq!((beyond.rows.len(), beyond.next), (0, None));
    }

    #[test]
    fn an_address_keeps_what_was_asked() {
        let query = [("job", Some("a&b c".to_owned())), ("target", None), ("limit", Some("5".to_owned()))];
        assert_eq!(address("/api/v1/runs", &query), "/api/v1/runs?job=a%26b+c&limit=5");
    }

    #[test]
    fn a_limit_is_bounded() {
        assert_eq!(limit(None, 50, 500).expect("the default"), 50);
        assert_eq!(limit(Some(500), 50, 500).expect("the most"), 500);
        assert!(limit(Some(0), 50, 500).is_err() && limit(Some(501), 50, 500).is_err());
    }
}
