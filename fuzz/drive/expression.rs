//! Expressions over records with hostile values: they end, and what they give is no larger than what an evaluation may hold.
//!
//! An input is the expression, an empty line, a profile. The profile's text is also the user's name.

use rosterd::model::key::SourceKey;
use rosterd::model::roster::{Lifecycle, SourceUser};
use rosterd::reconcile::expression::{Expression, Record};

/// What no text exceeds: the fuel of an evaluation pays for so many bytes.
const MOST: usize = 2 << 20;

/// Evaluates as an attribute and as a condition.
pub fn run(data: &[u8]) {
    let (text, profile) = super::halves(data);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let profile = String::from_utf8_lossy(profile);
    let user = SourceUser {
        key: SourceKey::from("00u1"),
        login: (&*profile).into(),
        email: Some("ada@example.com".into()),
        first_name: Some((&*profile).into()),
        last_name: None,
        display_name: Some((&*profile).into()),
        status: "ACTIVE".into(),
        lifecycle: Lifecycle::Entitled,
        profile: Some((&*profile).into()),
    };
    let groups = ["eng", &*profile];
    for compile in [Expression::new, Expression::condition] {
        let expression = match compile(text) {
            Ok(expression) => expression,
            Err(error) => {
                assert!(error.range.is_none_or(|range| range.end <= text.len()), "a place beyond the end");
                continue;
            }
        };
        let Ok(record) = Record::new(&user, &groups, expression.uses()) else { continue };
        if let Ok(Some(text)) = expression.text_of(&record) {
            assert!(text.len() <= MOST, "{} bytes of text", text.len());
            assert!(!text.is_empty() && text.trim() == text);
        }
        let _ = expression.holds(&record);
    }
}
