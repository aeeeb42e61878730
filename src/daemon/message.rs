//! What a webhook is sent: an event as an object for programs, or as a line of text for a chat.

use chrono::SecondsFormat;
use serde_json::{Value, json};
use smol_str::SmolStr;

use crate::config::notify::Format;
use crate::contract::notice::{Event, Notice};
use crate::model::change::OpKind;

/// The body of a message.
pub(super) fn body(format: Format, notice: &Notice) -> Value {
    match format {
        Format::Json => object(notice),
        Format::Slack => json!({ "text": slack(notice) }),
    }
}

/// The event's own fields, and beside them when it happened, the sentence, and what a person can do.
fn object(notice: &Notice) -> Value {
    let Notice { hook: _, event, at } = notice;
    let mut fields = serde_json::to_value(event).expect("an event has text keys and finite numbers");
    if let Event::Staged { kinds, .. } = event {
        let counts: serde_json::Map<String, Value> = kinds.iter().map(|(kind, n)| (kind.word().to_owned(), json!(n))).collect();
        fields["kinds"] = Value::Object(counts);
    }
    fields["topic"] = json!(event.topic());
    fields["at"] = json!(at.to_rfc3339_opts(SecondsFormat::Secs, true));
    fields["text"] = json!(sentence(event));
    if let Some(command) = command(event) {
        fields["command"] = json!(command);
    }
    fields
}

/// Slack reads `&`, `<` and `>` as markup, and a name could otherwise call a whole channel:
/// <https://docs.slack.dev/messaging/formatting-message-text/#escaping>.
fn slack(notice: &Notice) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let sentence = escaped(&sentence(&notice.event));
    match command(&notice.event) {
        Some(command) => format!("*rosterd*: {sentence}\n`{}`", escaped(&command)),
        None => format!("*rosterd*: {sentence}"),
    }
}

fn sentence(event: &Event) -> String {
    match event {
        Event::Staged { job, target, plan, waiting, new, kinds, names } => format!(
            "{} at {target} (job {job}) and {} not made until somebody decides, {new} of them new: {}; {}; plan {}",
            counted(*waiting, "removal waits", "removals wait"),
            if *waiting == 1 { "is" } else { "are" },
            kinds.iter().map(|(kind, n)| format!("{n} × {}", verb(*kind))).collect::<Vec<_>>().join(", "),
            listed(names, *new),
            plan.as_str(),
        ),
        Event::SetAside { job, target, users, names, cause, again: true } => format!(
            "{} still set aside at {target} (job {job}), for another cause than before: {}; {cause}",
            counted(*users, "user is", "users are"),
            listed(names, *users),
        ),
        Event::SetAside { job, target, users, names, cause, again: false } => format!(
            "{} set aside at {target} (job {job}) after all attempts failed: {}; {cause}",
            counted(*users, "user was", "users were"),
            listed(names, *users),
        ),
        Event::Failing { system, fault, cause } => format!("{system} fails ({fault}): {cause}"),
        Event::Refused { system, cause } => {
            format!("{system} refused the credential and is left alone until a reload or a release: {cause}")
        }
        Event::Recovered { system, since } => {
            format!("{system} answers again; it had failed since {}", since.format("%Y-%m-%d %H:%M:%SZ"))
        }
        Event::Expiring { system, at } => format!(
            "the credential for {system} expires at {}; make another and put it in its place before",
            at.format("%Y-%m-%d %H:%M:%SZ")
        ),
    }
}

/// What to type next, where there is something.
fn command(event: &Event) -> Option<String> {
    match event {
        Event::Staged { plan, .. } => Some(format!("rosterd approve {plan} --reason TEXT")),
        Event::SetAside { .. } => Some("rosterd retries".to_owned()),
        Event::Refused { system, .. } => Some(format!("rosterd release {system}")),
        Event::Failing { .. } | Event::Recovered { .. } | Event::Expiring { .. } => None,
    }
}

fn verb(kind: OpKind) -> String {
    kind.word().replace('_', " ")
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The first names; a set of removals may hold one user several times, so that no number of further users is told.
fn listed(names: &[SmolStr], of: u64) -> String {
    let more = if of > names.len() as u64 { " …" } else { "" };
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn notice(event: Event) -> Notice {
        Notice { hook: "ops".into(), event, at: DateTime::<Utc>::from_timestamp(1_790_000_000, 0).expect("a time") }
    }

    fn staged() -> Notice {
        notice(Event::Staged {
            job: "staff".into(),
            target: "jira".into(),
            plan: "ab12cd34".into(),
            waiting: 3,
            new: 2,
            kinds: vec![(OpKind::RemoveMember, 1), (OpKind::DeactivateUser, 2)],
            names: vec!["ada".into(), "<!channel>".into()],
        })
    }

    #[test]
    fn programs_get_the_fields_and_people_the_command() {
        let object = body(Format::Json, &staged());
        assert_eq!(
            (&object["event"], &object["topic"], &object["plan"]),
            (&json!("staged"), &json!("staged"), &json!("ab12cd34"))
        );
        assert_eq!(object["kinds"], json!({ "remove_member": 1, "deactivate_user": 2 }));
        assert_eq!((&object["waiting"], &object["new"]), (&json!(3), &json!(2)));
        assert_eq!(object["at"], "2026-09-21T14:13:20Z");
        assert_eq!(object["command"], "rosterd approve ab12cd34 --reason TEXT");
    }

    #[test]
    fn a_name_cannot_call_a_channel() {
        let body = body(Format::Slack, &staged());
        let text = body["text"].as_str().expect("a text");
        assert!(text.contains("ada, &lt;!channel&gt;") && !text.contains("<!channel>"), "{text}");
        assert!(text.contains("`rosterd approve ab12cd34 --reason TEXT`"), "{text}");
        assert!(text.starts_with("*rosterd*: 3 removals wait at jira (job staff) and are not made"), "{text}");
    }

    #[test]
    fn each_event_reads_as_a_sentence() {
        let (system, cause) = (crate::model::key::SystemName::from("jira"), "jira could not be read: it answered 500".to_owned());
        let since = DateTime::<Utc>::from_timestamp(1_790_000_000, 0).expect("a time");
        let set_aside = |again| Event::SetAside {
            job: "staff".into(),
            target: "jira".into(),
            users: 12,
            names: vec!["ada".into()],
            cause: cause.clone(),
            again,
        };
        for (event, said) in [
            (
                set_aside(true),
                "12 users are still set aside at jira (job staff), for another cause than before: ada …; jira could",
            ),
            (set_aside(false), "12 users were set aside at jira (job staff) after all attempts failed: ada …; jira could"),
            (
                Event::Failing { system: system.clone(), fault: "unavailable".into(), cause: cause.clone() },
                "jira fails (unavailable): ",
            ),
            (Event::Refused { system: system.clone(), cause }, "jira refused the credential and is left alone until"),
            (Event::Recovered { system: system.clone(), since }, "jira answers again; it had failed since 2026-09-21 14:13:20Z"),
            (Event::Expiring { system, at: since }, "the credential for jira expires at 2026-09-21 14:13:20Z; make another"),
        ] {
            assert!(sentence(&event).starts_with(said), "{}", sentence(&event));
        }
    }
}
