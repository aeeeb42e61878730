//! The console: one page that says how things are. Made on the server, without a script, so that it can be read in any
//! browser, through any proxy, and in ten years; it asks for itself anew from time to time.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::condition::Condition;
use super::status::{self, Status, TargetStatus};
use crate::contract::journal::{Ended, RunRecord};
use crate::contract::notice::SOON;
use crate::model::retry::{Retry, Subject};

/// How many rows of a table are shown; the rest is counted.
const MOST: usize = 200;
/// Seconds until the page asks for itself anew.
const REFRESH: u32 = 15;

const STYLE: &str = r#"
:root { color-scheme: light dark; --line: #8883; --soft: #667; --good: #1a7f4b; --warn: #b26a00; --bad: #c0362c; }
@media (prefers-color-scheme: dark) { :root { --soft: #99a; --good: #4cc38a; --warn: #f0a63a; --bad: #ff7a6e; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .4rem 1.2rem; border-bottom: 2px solid var(--line); padding-bottom: .8rem; }
h1 { font-size: 1.4rem; margin: 0; letter-spacing: .02em; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
h2 small, header span { color: var(--soft); font-weight: normal; font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; font-size: .82rem; color: var(--soft); white-space: nowrap; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
th.n { text-align: right; }
time, td.w { white-space: nowrap; }
code { font-size: .86rem; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.note { border-left: 4px solid var(--bad); padding: .5rem .9rem; margin: 1rem 0; background: #c0362c14; overflow-wrap: anywhere; }
.none { color: var(--soft); margin: .3rem 0; }
"#;

/// What the page shows.
#[derive(Debug)]
pub struct Shown {
    /// How the daemon is.
    pub condition: Condition,
    /// How things are.
    pub status: Status,
    /// The retry queue.
    pub retries: Vec<Retry>,
    /// The last runs.
    pub runs: Vec<RunRecord>,
    /// The time now.
    pub now: DateTime<Utc>,
}

/// Makes the page.
pub fn render(shown: &Shown) -> String {
    let mut page = String::with_capacity(16 * 1024);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH}\"><title>rosterd</title><style>{STYLE}</style></head><body>\n"
    );
    head(&mut page, shown);
    targets(&mut page, shown);
    staged(&mut page, shown);
    rests(&mut page, shown);
    expiring(&mut page, shown);
    retries(&mut page, shown);
    runs(&mut page, shown);
    page.push_str("</body></html>\n");
    page
}

/// Text as HTML: nothing that a system or a person named can become a tag, an attribute's end or an entity.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            sign => out.push(sign),
        }
    }
    out
}

/// The time gone by since, or to come until, in its two largest units; the whole time as a title.
fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let words = status::ago(at, now);
    format!("<time datetime=\"{0}\" title=\"{0}\">{words}</time>", at.format("%Y-%m-%dT%H:%M:%SZ"))
}

/// A table, or a word where it would be empty.
fn table(page: &mut String, title: &str, about: &str, columns: &[(&str, bool)], rows: Vec<Vec<String>>, when_empty: &str) {
    let _ = writeln!(page, "<section><h2>{title} <small>{about}</small></h2>");
    if rows.is_empty() {
        let _ = writeln!(page, "<p class=\"none\">{when_empty}</p></section>");
        return;
    }
    page.push_str("<div class=\"scroll\"><table><thead><tr>");
    for (column, number) in columns {
        let class = if *number { " class=\"n\"" } else { "" };
        let _ = write!(page, "<th{class}>{column}</th>");
    }
    page.push_str("</tr></thead><tbody>\n");
    let more = rows.len().saturating_sub(MOST);
    for row in rows.into_iter().take(MOST) {
        page.push_str("<tr>");
        for (cell, (_, number)) in row.into_iter().zip(columns) {
            let class = if *number { " class=\"n\"" } else { "" };
            let _ = write!(page, "<td{class}>{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
    if more > 0 {
        let _ = writeln!(page, "<p class=\"none\">and {more} more</p>");
    }
    page.push_str("</section>\n");
}

fn head(page: &mut String, shown: &Shown) {
    let Shown { condition, now, .. } = shown;
    let state = match (condition.stopping, condition.ready) {
        (true, _) => "<b class=\"warn\">stopping</b>",
        (false, true) => "<b class=\"good\">ready</b>",
        (false, false) => "<b class=\"warn\">starting</b>",
    };
    let loaded = condition.loaded.map(|at| format!("<span>configuration read {}</span>", ago(at, *now))).unwrap_or_default();
    let running: Vec<String> = condition.running.iter().map(|job| escape(job.as_str())).collect();
    let running = if running.is_empty() { String::new() } else { format!("<span>running: {}</span>", running.join(", ")) };
    let _ = writeln!(
        page,
        "<header><h1>rosterd</h1>{state}<span>version {}</span>{loaded}{running}<span>{}</span><span><a href=\"/api/v1/openapi.json\">API</a></span></header>",
        env!("CARGO_PKG_VERSION"),
        now.format("%Y-%m-%d %H:%M:%SZ")
    );
    if let Some(why) = &condition.reload_failed {
        let _ = writeln!(
            page,
            "<p class=\"note\">The last reload failed, the configuration before stays in force: {}</p>",
            escape(why)
        );
    }
}

/// How a run ended, coloured by what a person should think of it.
fn ended(run: &RunRecord) -> String {
    let Some(end) = &run.end else { return "running".to_owned() };
    let class = match end.ended {
        Ended::Converged | Ended::Applied | Ended::Observed => "good",
        Ended::Staged | Ended::Blind | Ended::Refused | Ended::Partial | Ended::Interrupted => "warn",
        Ended::Failed => "bad",
    };
    format!("<span class=\"{class}\">{}</span>", end.ended.word())
}

fn targets(page: &mut String, shown: &Shown) {
    let row = |target: &TargetStatus| {
        let fresh = match target.fresh {
            Some(at) => ago(at, shown.now),
            None => "<span class=\"warn\">never</span>".to_owned(),
        };
        let last = target.last.as_ref().map_or("none".to_owned(), |run| {
            let at = run.end.as_ref().map_or(run.start.at, |e| e.at);
            format!("{}, {}", ended(run), ago(at, shown.now))
        });
        let next = target.next.map_or("never".to_owned(), |at| ago(at, shown.now));
        vec![escape(target.target.as_str()), escape(target.job.as_str()), fresh, last, next]
    };
    let rows = shown.status.targets.iter().map(row).collect();
    let columns = [("target", false), ("job", false), ("in step as of", false), ("last run", false), ("next run", false)];
    table(page, "Targets", "", &columns, rows, "No job is configured.");
}

fn staged(page: &mut String, shown: &Shown) {
    let rows = shown.status.staged.iter().map(|removal| {
        vec![
            escape(removal.target.as_str()),
            escape(removal.job.as_str()),
            escape(&removal.kind.word().replace('_', " ")),
            escape(&removal.user_name),
            removal.group.as_deref().map(escape).unwrap_or_default(),
            escape(&removal.held_by.join(", ")),
            ago(removal.since, shown.now),
            format!("<code>{}</code>", escape(removal.plan.as_str().get(..12).unwrap_or(removal.plan.as_str()))),
        ]
    });
    let columns = ["target", "job", "removal", "user", "group", "held by", "waits since", "plan"].map(|c| (c, false));
    table(page, "Staged removals", "wait for a person", &columns, rows.collect(), "None: no removal waits for a person.");
}

fn rests(page: &mut String, shown: &Shown) {
    if shown.status.rests.is_empty() {
        return;
    }
    let rows = shown.status.rests.iter().map(|rest| {
        let until = rest.until.map_or("it is released, or its credential is another".to_owned(), |at| ago(at, shown.now));
        vec![escape(rest.system.as_str()), ago(rest.since, shown.now), until, rest.failures.to_string(), escape(&rest.cause)]
    });
    let columns = [("system", false), ("since", false), ("until", false), ("failures", true), ("cause", false)];
    table(page, "Resting systems", "are not spoken to", &columns, rows.collect(), "");
}

fn expiring(page: &mut String, shown: &Shown) {
    let soon = shown.status.expiring.iter().filter(|e| e.at - shown.now <= SOON);
    let rows: Vec<_> = soon.map(|e| vec![escape(e.system.as_str()), ago(e.at, shown.now)]).collect();
    if !rows.is_empty() {
        table(page, "Credentials", "are about to expire", &[("system", false), ("expires", false)], rows, "");
    }
}

fn retries(page: &mut String, shown: &Shown) {
    let rows = shown.retries.iter().map(|retry| {
        let subject = match &retry.subject {
            Subject::User(key) => format!("<code>{}</code>", escape(key.as_str())),
            Subject::Everything => "the whole run".to_owned(),
        };
        let next = ago(retry.not_before, shown.now);
        let next = if retry.quarantined { format!("<span class=\"bad\">in quarantine</span>, {next}") } else { next };
        vec![
            escape(retry.target.as_str()),
            escape(retry.job.as_str()),
            subject,
            retry.attempts.to_string(),
            next,
            ago(retry.first_seen, shown.now),
            escape(&retry.cause),
        ]
    });
    let columns = [
        ("target", false),
        ("job", false),
        ("subject", false),
        ("tries", true),
        ("next try", false),
        ("first failed", false),
        ("cause", false),
    ];
    table(page, "Retries", "", &columns, rows.collect(), "Nothing is to be tried again.");
}

fn runs(page: &mut String, shown: &Shown) {
    let rows = shown.runs.iter().map(|run| {
        let numbers = match &run.end {
            Some(end) => {
                let done: u64 = end.done.iter().map(|(_, n)| n).sum();
                let seconds = (end.at - run.start.at).num_milliseconds() as f64 / 1000.0;
                [
                    done.to_string(),
                    end.failed.to_string(),
                    end.staged.to_string(),
                    end.requests.to_string(),
                    format!("{seconds:.1}"),
                ]
            }
            None => Default::default(),
        };
        let message = run.end.as_ref().and_then(|e| e.messages.first()).map(|m| escape(m)).unwrap_or_default();
        let mut row =
            vec![ago(run.start.at, shown.now), escape(run.start.target.as_str()), escape(run.start.job.as_str()), ended(run)];
        row.extend(numbers);
        row.push(message);
        row
    });
    let columns = [
        ("began", false),
        ("target", false),
        ("job", false),
        ("outcome", false),
        ("changes", true),
        ("failed", true),
        ("staged", true),
        ("requests", true),
        ("seconds", true),
        ("first message", false),
    ];
    table(page, "Last runs", "", &columns, rows.collect(), "No run is recorded.");
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::contract::journal::Rest;
    use crate::contract::notice::Expiring;

    #[test]
    fn what_others_named_is_text_and_nothing_else() {
        let rest = Rest {
            system: "jira".into(),
            since: Utc::now(),
            cause: r#"<script>alert("x")</script> & 'more'"#.to_owned(),
            fault: "refused".to_owned(),
            failures: 1,
            until: None,
            credential: None,
        };
        let status = Status { rests: vec![rest], ..Status::default() };
        let condition = Condition { reload_failed: Some("<b>".to_owned()), ..Condition::default() };
        let page = render(&Shown { condition, status, retries: Vec::new(), runs: Vec::new(), now: Utc::now() });
        assert!(page.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;more&#39;"), "{page}");
        assert!(page.contains("&lt;b&gt;") && !page.contains("<script") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn a_credential_that_expires_soon_is_shown() {
        let now = Utc::now();
        let expiring = |system: &str, days| Expiring { system: system.into(), at: now + TimeDelta::days(days), told: false };
        let status = Status { expiring: vec![expiring("jira", 13), expiring("wiki", 90)], ..Status::default() };
        let condition = Condition::default();
        let page = render(&Shown { condition, status, retries: Vec::new(), runs: Vec::new(), now });
        assert!(page.contains("<td>jira</td>") && !page.contains("wiki"), "{page}");
    }

    #[test]
    fn a_time_is_told_by_its_two_largest_units() {
        let now = Utc::now();
        assert!(ago(now - chrono::TimeDelta::seconds(3 * 3600 + 125), now).contains(">3h 2m ago<"));
        assert!(ago(now + chrono::TimeDelta::seconds(90), now).contains(">in 1m 30s<"));
    }
}
