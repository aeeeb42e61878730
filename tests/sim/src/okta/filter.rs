//! The filter language of list endpoints: a small part of SCIM's.
//!
//! `filter` knows few fields and comparisons, `search` more; what Okta refuses is refused here too, since a filter that is
//! silently ignored would widen a listing. See <https://developer.okta.com/docs/api/#filter>.

/// A filter, parsed.
#[derive(Debug)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Present(String),
    Compare { field: String, by: By, value: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Eq,
    Gt,
    Ge,
    Lt,
    Le,
    StartsWith,
    Contains,
}

/// What an endpoint's parameter understands.
pub(super) struct Grammar {
    /// Fields that take `eq`; a name that ends in `.` stands for all below it.
    pub(super) fields: &'static [&'static str],
    /// Fields that take comparisons of order too.
    pub(super) ordered: &'static [&'static str],
    /// Whether `sw`, `co` and `pr` are known.
    pub(super) search: bool,
}

impl Filter {
    /// Reads a filter, or tells what is wrong with it.
    pub(super) fn parse(text: &str, grammar: &Grammar) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, grammar };
        let filter = parser.any()?;
        match parser.next() {
            None => Ok(filter),
            Some(extra) => Err(format!("unexpected {extra:?}")),
        }
    }

    /// Whether a record passes; `field` tells the record's value.
    pub(super) fn passes(&self, field: &impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|p| p.passes(field)),
            Self::Any(parts) => parts.iter().any(|p| p.passes(field)),
            Self::Present(name) => field(name).is_some(),
            Self::Compare { field: name, by, value } => field(name).is_some_and(|have| by.holds(&have, value)),
        }
    }
}

impl By {
    fn holds(self, have: &str, value: &str) -> bool {
        let (have, value) = (have.to_lowercase(), value.to_lowercase());
        match self {
            Self::Eq => have == value,
            Self::Gt => have > value,
            Self::Ge => have >= value,
            Self::Lt => have < value,
            Self::Le => have <= value,
            Self::StartsWith => have.starts_with(&value),
            Self::Contains => have.contains(&value),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Word(String),
    Text(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            '"' => {
                let mut value = String::new();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => value.extend(chars.next()),
                        Some(c) => value.push(c),
                        None => return Err("a quote is not closed".into()),
                    }
                }
                tokens.push(Token::Text(value));
            }
            c => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| !matches!(c, ' ' | '(' | ')' | '"')) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    grammar: &'a Grammar,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word));
        if found {
            self.at += 1;
        }
        found
    }

    fn any(&mut self) -> Result<Filter, String> {
        let mut parts = vec![self.all()?];
        while self.eat("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Any(parts) })
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut parts = vec![self.one()?];
        while self.eat("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) })
    }

    fn one(&mut self) -> Result<Filter, String> {
        let field = match self.next() {
            Some(Token::Open) => {
                let inner = self.any()?;
                return match self.next() {
                    Some(Token::Close) => Ok(inner),
                    _ => Err("a bracket is not closed".into()),
                };
            }
            Some(Token::Word(field)) => field,
            other => return Err(format!("a field was expected, not {other:?}")),
        };
        if self.grammar.search && self.eat("pr") {
            return Ok(Filter::Present(field));
        }
        let by = self.by(&field)?;
        match self.next() {
            Some(Token::Text(value)) => Ok(Filter::Compare { field, by, value }),
            other => Err(format!("a value in quotes was expected, not {other:?}")),
        }
    }

    fn by(&mut self, field: &str) -> Result<By, String> {
        let ordered = self.grammar.ordered.contains(&field);
        let known = |f: &&str| *f == field || (f.ends_with('.') && field.starts_with(*f));
        if !ordered && !self.grammar.fields.iter().any(known) {
            return Err(format!("{field} cannot be filtered on"));
        }
        let by = match self.next() {
            Some(Token::Word(word)) => word,
            other => return Err(format!("a comparison was expected, not {other:?}")),
        };
        match by.as_str() {
            "eq" => Ok(By::Eq),
            "gt" if ordered => Ok(By::Gt),
            "ge" if ordered => Ok(By::Ge),
            "lt" if ordered => Ok(By::Lt),
            "le" if ordered => Ok(By::Le),
            "sw" if self.grammar.search => Ok(By::StartsWith),
            "co" if self.grammar.search => Ok(By::Contains),
            other => Err(format!("{field} does not know {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAMMAR: Grammar = Grammar { fields: &["type", "id"], ordered: &["lastUpdated"], search: false };

    fn passes(text: &str) -> Result<bool, String> {
        let filter = Filter::parse(text, &GRAMMAR)?;
        Ok(filter.passes(&|field| match field {
            "type" => Some("OKTA_GROUP".into()),
            "lastUpdated" => Some("2026-01-02T00:00:00.000Z".into()),
            _ => None,
        }))
    }

    #[test]
    fn and_binds_closer_than_or_and_brackets_closer_than_both() {
        assert_eq!(passes(r#"type eq "OKTA_GROUP" or type eq "X" and id eq "y""#), Ok(true));
        assert_eq!(passes(r#"(type eq "OKTA_GROUP" or type eq "X") and id eq "y""#), Ok(false));
        assert_eq!(passes(r#"lastUpdated ge "2026-01-02T00:00:00.000Z""#), Ok(true));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [r#"name eq "x""#, r#"type ne "x""#, r#"type gt "x""#, r#"type eq "x"#, "type eq x", "(", ""] {
            assert!(passes(text).is_err(), "{text}");
        }
    }
}
