//! `rosterd journal`: the record of changes as a whole. Checked against its chain, written out for other programs, listed.

use std::io::{BufWriter, ErrorKind, Write};

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use super::show;
use super::stage::{Stage, runtime};
use crate::contract::chain::{Beginning, Broken, Verification};
use crate::contract::history::{ChangeQuery, Order, Told};
use crate::contract::journal::{Journal, Outcome, Trigger};
use crate::contract::verdict::{Freed, Release};
use crate::model::change::OpKind;
use crate::model::desired::Attributes;
use crate::model::key::{JobName, PlanId, RunId, SourceKey, SystemName, TargetKey};
use crate::store::Access;

/// How many changes are read at a time: what a large journal costs in memory.
const PAGE: u32 = 1000;
/// How many users a release names in a list.
const NAMED: usize = 5;

/// What the command takes.
#[derive(Debug, Args)]
pub struct JournalArguments {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Check that what is recorded is as it was written: nothing changed, deleted or slipped in
    Verify(VerifyArguments),
    /// Print changes as JSON lines, the oldest first
    Export(Filter),
    /// List changes, the newest first
    List(ListArguments),
    /// List who ended rests, quarantines and holds, the newest first
    Releases(ReleasesArguments),
}

#[derive(Debug, Args)]
struct VerifyArguments {
    /// Also check that the chain had this head once: the hash from a run's line in the log, or of `status --json`
    #[arg(long, value_name = "HASH", value_parser = hash)]
    head: Option<String>,
}

#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    filter: Filter,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: u32,
}

#[derive(Debug, Args)]
struct ReleasesArguments {
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: u32,
}

/// Which changes.
#[derive(Debug, Args)]
struct Filter {
    /// Only from this time on: 2026-10-25, 2026-10-25T06:30:00Z, or 2d for two days ago
    #[arg(long, value_name = "TIME", value_parser = when)]
    since: Option<When>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = when)]
    until: Option<When>,
    /// Only about this user: a user name of now or then, or an id of the source or the target
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only about this group at the target
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Only of this job
    #[arg(long)]
    job: Option<String>,
    /// Only at this target
    #[arg(long)]
    target: Option<String>,
    /// Only of this run; the beginning of its id will do
    #[arg(long, value_name = "ID")]
    run: Option<String>,
}

/// A time as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    At(DateTime<Utc>),
    Ago(TimeDelta),
}

impl When {
    fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            When::At(at) => at,
            When::Ago(ago) => now - ago,
        }
    }
}

fn when(text: &str) -> Result<When, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(When::At(at.to_utc()));
    }
    if let Some(midnight) = text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)) {
        return Ok(When::At(midnight.and_utc()));
    }
    let ago = humantime::parse_duration(text).ok().and_then(|ago| TimeDelta::from_std(ago).ok());
    // Longer ago than any journal: a date before the calendar's beginning is no use to anybody.
    let ago = ago.filter(|ago| *ago <= TimeDelta::days(36_500));
    ago.map(When::Ago).ok_or_else(|| "write 2026-10-25, 2026-10-25T06:30:00Z (times are UTC), or 2d for two days ago".to_owned())
}

fn hash(text: &str) -> Result<String, String> {
    let is_one = (12..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_one { Ok(text.to_owned()) } else { Err("a head is 64 hexadecimal digits; the first 12 of them will do".to_owned()) }
}

/// Checks, writes out or lists.
///
/// # Errors
/// A configuration or store that cannot be read; a run that is not recorded.
pub fn command(arguments: &Arguments, more: &JournalArguments) -> Result<Exit, Failure> {
    let stage = Stage::rules(arguments)?;
    runtime()?.block_on(async {
        let journal = stage.journal(Access::Read).await?;
        match &more.command {
            JournalCommand::Verify(more) => {
                let head = more.head.as_deref();
                let mut checked = journal.verify(head).await?;
                if !checked.holds() {
                    // A daemon may have begun to write in the middle of it: what is broken is broken at a second look too.
                    drop(journal);
                    checked = stage.journal(Access::Read).await?.verify(head).await?;
                }
                verdict(arguments, &checked, head)
            }
            JournalCommand::Export(filter) => export(&*journal, query(filter, &*journal).await?).await,
            JournalCommand::List(more) => list(arguments, &*journal, more).await,
            JournalCommand::Releases(more) => releases(arguments, &*journal, more.limit).await,
        }
    })
}

async fn query(filter: &Filter, journal: &dyn Journal) -> Result<ChangeQuery, Failure> {
    let now = Utc::now();
    let run = match &filter.run {
        Some(id) => match journal.run(id).await? {
            Some(run) => Some(run.start.id),
            None => {
                let failure = Failure::new(Exit::Failed, format!("no run {id:?} is recorded"));
                return Err(failure.hint("`rosterd runs` lists them"));
            }
        },
        None => None,
    };
    Ok(ChangeQuery {
        run,
        job: filter.job.as_deref().map(Into::into),
        target: filter.target.as_deref().map(Into::into),
        user: filter.user.clone(),
        group: filter.group.clone(),
        since: filter.since.map(|when| when.from(now)),
        until: filter.until.map(|when| when.from(now)),
        ..ChangeQuery::default()
    })
}

/// A change as other programs read it. Every key is there on every line.
#[derive(Serialize)]
struct Line<'a> {
    id: i64,
    at: String,
    settled_at: Option<String>,
    run: &'a RunId,
    job: &'a JobName,
    target: &'a SystemName,
    trigger: Trigger,
    by: Option<&'a str>,
    plan: Option<&'a PlanId>,
    kind: OpKind,
    source: Option<&'a SourceKey>,
    user: Option<&'a TargetKey>,
    user_name: Option<&'a str>,
    group: Option<&'a str>,
    before: Option<&'a Attributes>,
    after: Option<&'a Attributes>,
    reason: String,
    actor: Option<&'a str>,
    outcome: Option<&'static str>,
    fault: Option<&'a str>,
    why: Option<&'a str>,
    left_groups: &'a [String],
    request: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn of(told: &'a Told) -> Self {
        let change = &told.change;
        let intent = &change.intent;
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let (outcome, fault, why) = match &change.outcome {
            None => (None, None, None),
            Some(Outcome::Done) => (Some("done"), None, None),
            Some(Outcome::AlreadySo) => (Some("already_so"), None, None),
            Some(Outcome::Failed { fault, why }) => (Some("failed"), Some(fault.as_str()), Some(why.as_str())),
            Some(Outcome::Skipped) => (Some("skipped"), None, None),
            Some(Outcome::Lost) => (Some("lost"), None, None),
        };
        Self {
            id: change.id.0,
            at: time(change.at),
            settled_at: change.settled_at.map(time),
            run: &change.run,
            job: &told.job,
            target: &told.target,
            trigger: told.trigger,
            by: told.by.as_deref(),
            plan: told.plan.as_ref(),
            kind: intent.kind,
            source: intent.source.as_ref(),
            user: intent.user.as_ref(),
            user_name: intent.user_name.as_deref(),
            group: intent.group.as_deref(),
            before: intent.before.as_ref(),
            after: intent.after.as_ref(),
            reason: show::reason(intent),
            actor: intent.let_by.as_deref(),
            outcome,
            fault,
            why,
            left_groups: &change.left_groups,
            request: change.request.as_deref(),
        }
    }
}

async fn export(journal: &dyn Journal, mut query: ChangeQuery) -> Result<Exit, Failure> {
    query.limit = PAGE;
    loop {
        let page = journal.history(&query).await?;
        match write(&page) {
            Ok(()) => {}
            // A reader who went away (`| head`) wants no more.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Done),
            Err(error) => return Err(Failure::new(Exit::Failed, format!("cannot print: {error}"))),
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => query.beyond = Some(last.change.id),
            Some(_) | None => return Ok(Exit::Done),
        }
    }
}

fn write(page: &[Told]) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for told in page {
        serde_json::to_writer(&mut out, &Line::of(told))?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

async fn list(arguments: &Arguments, journal: &dyn Journal, more: &ListArguments) -> Result<Exit, Failure> {
    let query = ChangeQuery { order: Order::NewestFirst, limit: more.limit, ..query(&more.filter, journal).await? };
    let changes = journal.history(&query).await?;
    if arguments.json {
        output::json(&changes)?;
        return Ok(Exit::Done);
    }
    if changes.is_empty() {
        output::line("no such change is recorded")?;
    }
    for told in &changes {
        let Told { job, target, by, change, .. } = told;
        let at = change.at.format("%Y-%m-%d %H:%M:%SZ");
        let by = by.as_ref().map(|by| format!("; run for {by}")).unwrap_or_default();
        output::line(&format!("{at} {} {job} {target} {}{by}", change.run, show::what(change)))?;
    }
    Ok(Exit::Done)
}

async fn releases(arguments: &Arguments, journal: &dyn Journal, limit: u32) -> Result<Exit, Failure> {
    let releases = journal.releases(limit).await?;
    if arguments.json {
        output::json(&releases)?;
        return Ok(Exit::Done);
    }
    if releases.is_empty() {
        output::line("nobody has released anything that is still recorded")?;
    }
    for release in &releases {
        output::line(&released(release))?;
    }
    Ok(Exit::Done)
}

/// One release in a line: who, what, what that ended, and why.
fn released(release: &Release) -> String {
    let Release { what, actor, reason, at, rest, holds, due } = release;
    let names = |freed: &[Freed]| {
        let name = |one: &Freed| {
            let source = || one.source.as_ref().map_or_else(|| format!("all of {}", one.job), ToString::to_string);
            format!("{} at {}", one.user_name.as_ref().map_or_else(source, ToString::to_string), one.target)
        };
        let told: Vec<String> = freed.iter().take(NAMED).map(name).collect();
        let more = freed.len().saturating_sub(NAMED);
        if more > 0 { format!("{} and {more} more", told.join(", ")) } else { told.join(", ") }
    };
    let mut ended: Vec<String> = rest.iter().map(|system| format!("the rest of {system}")).collect();
    if !holds.is_empty() {
        ended.push(format!("the hold on {}", names(holds)));
    }
    if !due.is_empty() {
        ended.push(format!("the waiting of {}", names(due)));
    }
    let why = reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} {actor} released {what}, which ended {}{why}", at.format("%Y-%m-%d %H:%M:%SZ"), ended.join(", "))
}

fn verdict(arguments: &Arguments, checked: &Verification, head: Option<&str>) -> Result<Exit, Failure> {
    if arguments.json {
        output::json(checked)?;
    } else {
        tell(checked, head.unwrap_or_default())?;
    }
    if checked.holds() {
        return Ok(Exit::Done);
    }
    let places = checked.broken.len() as u64 + checked.more;
    let message = match places {
        0 => "the journal holds by itself, but never had the head that was asked for".to_owned(),
        1 => "the journal is not as it was written, at 1 place".to_owned(),
        n => format!("the journal is not as it was written, at {n} places"),
    };
    Err(Failure::new(Exit::Failed, message))
}

fn tell(checked: &Verification, asked: &str) -> Result<(), Failure> {
    let Verification { entries, span, head, beginning, held, broken, more } = checked;
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%SZ");
    let span = span.map(|(first, last)| format!(", written from {} to {}", time(first), time(last))).unwrap_or_default();
    output::line(&format!("checked {entries} entries{span}"))?;
    output::line(&format!("head {} is {}", head.entry, head.hash))?;
    match beginning {
        Beginning::Nothing => {}
        Beginning::Unchained { changes, runs } => output::line(&format!(
            "not checked: {changes} changes of {runs} runs from before this chain, which an older rosterd wrote"
        ))?,
        Beginning::Pruned { entry } => output::line(&format!("entries up to {entry} are past their retention and gone"))?,
    }
    match held {
        Some(Some(then)) => {
            let since = head.entry - then.entry;
            output::line(&format!("{asked} is the head at entry {}; {since} entries came after it", then.entry))?;
        }
        Some(None) => output::line(&format!(
            "no entry has the hash {asked}: the chain was written anew since, its end was cut off, or its part of that time is \
             past its retention"
        ))?,
        None => {}
    }
    broken.iter().try_for_each(|broken| output::line(&place(broken)))?;
    if *more > 0 {
        output::line(&format!("and {more} more"))?;
    }
    if broken.is_empty() {
        output::line("every record is as it was written")?;
    }
    Ok(())
}

fn place(broken: &Broken) -> String {
    let Broken { entry, at, run, change: _, wrong, what } = broken;
    let entry = entry.map(|entry| format!(" entry {entry}")).unwrap_or_default();
    let at = at.map(|at| format!(" of {}", at.format("%Y-%m-%d %H:%M:%SZ"))).unwrap_or_default();
    let run = run.as_ref().map(|run| format!(" run {run}")).unwrap_or_default();
    format!("{}:{entry}{at}{run}: {what}", wrong.word().to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_a_moment_or_so_long_ago() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).expect("a time");
        let of = |text| when(text).map(|when| when.from(now).to_rfc3339_opts(SecondsFormat::Secs, true));
        assert_eq!(of("2026-10-25").as_deref(), Ok("2026-10-25T00:00:00Z"));
        assert_eq!(of("2026-10-25T06:30:00+02:00").as_deref(), Ok("2026-10-25T04:30:00Z"));
        assert_eq!(of("2h 30m").as_deref(), Ok("2026-09-21T11:43:20Z"));
        for wrong in ["yesterday", "", "2026-13-01", "3000years"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_head_is_enough_of_a_hash() {
        assert!(hash(&"a0".repeat(32)).is_ok() && hash("0123456789ab").is_ok());
        for wrong in ["0123456789a", "0123456789ag", &"a".repeat(65)] {
            assert!(hash(wrong).is_err(), "{wrong}");
        }
    }
}
