//! What the state store is like, and what it tells: rests, retries, what waits, and the last runs that did not go well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::scrub::Scrub;
use super::settings::Written;
use super::{Findings, Opened, address};
use crate::cli::exit::Exit;
use crate::cli::output::grouped;
use crate::config::Checked;
use crate::config::layers::environment;
use crate::contract::journal::{Ended, Journal, JournalError, RunQuery, RunRecord, Staged};
use crate::daemon::status::gather;
use crate::model::key::SystemName;
use crate::model::retry::{Retry, Subject};
use crate::store::SCHEMA;

/// How many runs are looked through, and how many of those that went wrong are shown.
const RUNS: u32 = 200;
const SHOWN: usize = 20;
/// How many retries and messages of a run are shown.
const MOST: usize = 50;

/// Learns every name that the store knows: whatever a message repeats of them is found. What cannot be read is missing here as
/// in what is told of it.
pub(super) async fn learn_names(scrub: &mut Scrub, journal: &dyn Journal, written: &Written) {
    for target in written.entries("targets") {
        for link in journal.links(&SystemName::from(target)).await.map(|links| links.users).unwrap_or_default() {
            [link.name.as_str(), link.source.as_str(), link.target.as_str()].iter().for_each(|name| scrub.learn(name));
        }
    }
    for staged in journal.staged().await.unwrap_or_default() {
        [staged.user_name.as_str(), staged.user.as_str()].iter().for_each(|name| scrub.learn(name));
        staged.source.iter().for_each(|source| scrub.learn(source.as_str()));
    }
    for retry in journal.retries().await.unwrap_or_default() {
        retry.user_name.iter().for_each(|name| scrub.learn(name));
        if let Subject::User(key) = &retry.subject {
            scrub.learn(key.as_str());
        }
    }
    for hold in journal.holds().await.unwrap_or_default() {
        [hold.user_name.as_str(), hold.user.as_str()].iter().for_each(|name| scrub.learn(name));
    }
    for name in written.token_names(&environment()) {
        scrub.learn(&name);
    }
    let runs = journal.runs(&RunQuery { limit: RUNS, ..RunQuery::default() }).await.unwrap_or_default();
    let actors = runs.iter().filter_map(|run| run.start.by.as_deref()).map(str::to_owned);
    let deciders = journal.decisions().await.unwrap_or_default().into_iter().map(|decision| decision.actor.to_string());
    for actor in actors.chain(deciders) {
        let name = actor.split_once(':').map_or(actor.as_str(), |(_, name)| name);
        scrub.learn(name.split(' ').next().unwrap_or(name));
    }
    let mut seen = BTreeSet::new();
    let last = runs.into_iter().filter(|run| seen.insert((run.start.job.clone(), run.start.target.clone())));
    for run in last.chain(bad_runs(journal).await.unwrap_or_default()) {
        for change in journal.changes(&run.start.id).await.unwrap_or_default() {
            change.intent.user_name.iter().for_each(|name| scrub.learn(name));
            change.intent.source.iter().for_each(|key| scrub.learn(key.as_str()));
            for attributes in change.intent.before.iter().chain(&change.intent.after) {
                let words = attributes.display_name.iter().flat_map(|name| name.split(' '));
                let all = words.chain([attributes.name.as_str()]).chain(attributes.email.as_deref());
                all.for_each(|name| scrub.learn(name));
            }
        }
        // What stands before a colon is whom the message is about.
        let who = run.end.iter().flat_map(|end| &end.messages).filter_map(|message| message.split_once(": "));
        who.filter(|(who, _)| !who.contains(' ')).for_each(|(who, _)| scrub.learn(who));
    }
}

/// The store itself.
pub(super) async fn of_store(at: &str, opened: &Opened, scrub: &Scrub, findings: &mut Findings) -> Value {
    let path = at.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    let size = |suffix: &str| path.and_then(|path| std::fs::metadata(format!("{path}{suffix}")).ok()).map(|file| file.len());
    let mut shown = json!({
        "kind": address::scheme(at),
        "path": path,
        "there": path.map(|path| Path::new(path).exists()),
        "bytes": size(""),
        "log_bytes": size("-wal"),
        "schema_known": SCHEMA,
    });
    let journal = match opened {
        Ok(journal) => journal,
        Err(error) => {
            let busy = error.is_passing();
            let said = scheme_hidden(&error.to_string(), at);
            findings.add(if busy { Exit::Unavailable } else { Exit::Failed }, said.clone());
            shown["opens"] = json!(false);
            shown["error"] = json!(said);
            shown["hint"] = json!(error.hint());
            return shown;
        }
    };
    shown["opens"] = json!(true);
    match journal.verify(None).await {
        Ok(verification) => {
            for broken in verification.broken.iter().take(MOST) {
                findings.add(Exit::Failed, format!("the record is not as it was written: {}", scrub.text(&broken.what)));
            }
            let broken = verification.broken.iter().take(MOST);
            shown["chain"] = json!({
                "holds": verification.holds(),
                "entries": verification.entries,
                "span": verification.span,
                "head": verification.head,
                "begins": verification.beginning,
                "broken": broken.map(|b| json!({ "entry": b.entry, "at": b.at, "run": b.run, "wrong": b.wrong, "what": scrub.text(&b.what) })).collect::<Vec<_>>(),
                "more": verification.more,
            });
        }
        Err(error) => {
            findings.add(Exit::Failed, error.to_string());
            shown["chain"] = json!({ "error": error.to_string() });
        }
    }
    shown
}

/// What is said of an address that is none may repeat how it begins, which is then anything.
fn scheme_hidden(said: &str, at: &str) -> String {
    match (address::scheme(at), at.split(':').next()) {
        (None, Some(begins)) if !begins.is_empty() => said.replace(begins, "(not shown)"),
        (_, _) => said.to_owned(),
    }
}

/// What it tells.
pub(super) async fn of_runs(journal: &dyn Journal, checked: Option<&Checked>, now: DateTime<Utc>, scrub: &Scrub) -> Value {
    match told(journal, checked, now, scrub).await {
        Ok(told) => told,
        Err(error) => json!({ "error": error.to_string() }),
    }
}

async fn told(
    journal: &dyn Journal,
    checked: Option<&Checked>,
    now: DateTime<Utc>,
    scrub: &Scrub,
) -> Result<Value, JournalError> {
    let status = match checked {
        Some(checked) => Some(gather(&checked.config, journal, now).await?),
        None => None,
    };
    let targets = status.iter().flat_map(|status| &status.targets).map(|target| {
        json!({ "job": target.job, "target": target.target, "next": target.next, "in_step": target.fresh, "last": target.last.as_ref().map(|run| of_run(run, scrub)) })
    });
    let rests = journal.rests().await?.into_iter().map(|rest| {
        json!({ "system": rest.system, "since": rest.since, "until": rest.until, "fault": rest.fault, "failures": rest.failures, "cause": scrub.text(&rest.cause) })
    });
    let retries = journal.retries().await?;
    let failing = journal.ailing().await?.into_iter().map(|ailing| json!({ "system": ailing.system, "since": ailing.since }));
    Ok(json!({
        "targets": targets.collect::<Vec<_>>(),
        "rests": rests.collect::<Vec<_>>(),
        "failing": failing.collect::<Vec<_>>(),
        "credentials": journal.expiring().await?,
        "retries": { "all": retries.len(), "quarantined": retries.iter().filter(|r| r.quarantined).count(), "first": retries.iter().take(MOST).map(|r| of_retry(r, scrub)).collect::<Vec<_>>() },
        "staged": of_staged(&journal.staged().await?),
        "decisions": journal.decisions().await?.len(),
        "holds": journal.holds().await?.len(),
        "bad_runs": bad_runs(journal).await?.iter().map(|run| of_run(run, scrub)).collect::<Vec<_>>(),
    }))
}

fn of_retry(retry: &Retry, scrub: &Scrub) -> Value {
    let subject = match &retry.subject {
        Subject::User(key) => scrub.name(key.as_str()),
        Subject::Everything => "(the whole run)".to_owned(),
    };
    json!({
        "job": retry.job, "target": retry.target, "subject": subject, "attempts": retry.attempts, "first_seen": retry.first_seen,
        "not_before": retry.not_before, "quarantined": retry.quarantined, "cause": scrub.text(&retry.cause),
    })
}

/// Job, target, kind, and the guards that hold it.
type Wait<'a> = (String, String, &'a str, String);

/// How many wait, of what, and since when the oldest: no names are needed for that.
fn of_staged(staged: &[Staged]) -> Value {
    let mut counts: BTreeMap<Wait<'_>, (usize, DateTime<Utc>)> = BTreeMap::new();
    for s in staged {
        let key = (s.job.to_string(), s.target.to_string(), s.kind.word(), s.held_by.join(", "));
        let (many, oldest) = counts.entry(key).or_insert((0, s.since));
        *many += 1;
        *oldest = s.since.min(*oldest);
    }
    let row = |((job, target, kind, held_by), (many, oldest))| json!({ "job": job, "target": target, "kind": kind, "held_by": held_by, "many": many, "oldest": oldest });
    counts.into_iter().map(row).collect()
}

/// The last runs that did not do all that they should, the newest first.
async fn bad_runs(journal: &dyn Journal) -> Result<Vec<RunRecord>, JournalError> {
    let runs = journal.runs(&RunQuery { limit: RUNS, ..RunQuery::default() }).await?;
    let good = |run: &RunRecord| {
        let fine = |ended| matches!(ended, Ended::Converged | Ended::Applied | Ended::Observed | Ended::Staged);
        run.end.as_ref().is_some_and(|end| fine(end.ended))
    };
    Ok(runs.into_iter().filter(|run| !good(run)).take(SHOWN).collect())
}

/// The beginning of a message after which a person's own words stand, with who that was: as `drift --adopt` and `undo` write it.
fn of_order(what: &str, scrub: &Scrub) -> Option<String> {
    let before = if what.starts_with("taken over by ") { " by " } else { " for " };
    let known = what.starts_with("taken over by ") || what.starts_with("takes back run ");
    let (said, actor) = what.split_once(before).filter(|_| known)?;
    Some(format!("{said}{before}{}", scrub.actor(actor)))
}

fn of_run(run: &RunRecord, scrub: &Scrub) -> Value {
    let start = &run.start;
    let end = run.end.as_ref().map(|end| {
        // The same said of several is one line with a number, and of whom it is said does not matter.
        let split = |message: &String| match message.split_once(": ") {
            Some((who, text)) if !who.contains(' ') => (scrub.name(who), scrub.text(text)),
            Some((what, reason)) => match of_order(what, scrub) {
                Some(what) => (String::new(), format!("{what}: {}", scrub.free(reason))),
                None => (String::new(), scrub.text(message)),
            },
            None => (String::new(), scrub.text(message)),
        };
        let messages: Vec<String> = grouped(end.messages.iter().map(split)).into_iter().take(MOST).collect();
        json!({
            "ended": end.ended, "at": end.at, "planned": end.planned, "done": end.done, "failed": end.failed, "staged": end.staged,
            "requests": end.requests, "source": end.sizes, "messages": messages,
        })
    });
    json!({ "run": start.id, "job": start.job, "target": start.target, "trigger": start.trigger, "began": start.at, "end": end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_order_neither_who_gave_it_nor_why_is_told() {
        let scrub = Scrub::new(false, BTreeSet::new()).expect("random");
        let by = of_order("taken over by os:ada (as root)", &scrub).expect("an order");
        assert!(by.starts_with("taken over by os:") && !by.contains("ada"), "{by}");
        let undone = of_order("takes back run 0192-ab for token:eve", &scrub).expect("an order");
        assert!(undone.starts_with("takes back run 0192-ab for token:") && !undone.contains("eve"), "{undone}");
        assert_eq!(of_order("jira refused for os:ada", &scrub), None);
    }
}
