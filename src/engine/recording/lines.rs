//! The form of a recording in a file: JSON lines, one record a line, packed by gzip. A person can look at it (`zcat`), a
//! program can read it line by line, and a hundred thousand users are a few megabytes.
//!
//! Its last line says that it is the last: a file that was cut is no recording, for the same reason for which a cut page is
//! no reading.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::{Absent, Account, Answer, AtTarget, FORMAT, Found, Head, Recording};
use crate::contract::journal::{Removals, Sizes, Staged};
use crate::contract::source::{GroupFact, Subject};
use crate::contract::verdict::{Decision, Hold};
use crate::engine::decided::Decided;
use crate::engine::memory::Memory;
use crate::model::key::{SourceKey, SystemName, TargetKey};
use crate::model::ledger::Ledger;
use crate::model::link::{GroupLink, Links, UserLink};
use crate::model::plan::Finding;
use crate::model::retry::Retry;
use crate::model::roster::{SourceGroup, SourceRoster, SourceUser, TargetGroup, TargetRoster, TargetUser};
use crate::reconcile::render::{ChangeView, PlanView, ViolationView};
use crate::reconcile::seats::Forecast;

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// Always the first.
    Recording(Head),
    User(SourceUser),
    /// Members and subgroups are positions, counted from 0, among the users and groups.
    Group(SourceGroup),
    UserAnswer {
        key: SourceKey,
        answer: Answer<Subject>,
    },
    GroupAnswer {
        key: SourceKey,
        answer: Answer<GroupFact>,
    },
    /// What follows, up to the next target, is this target's.
    Target(TargetHead),
    TargetUser(TargetUser),
    /// Members are positions among the target's users.
    TargetGroup(TargetGroup),
    AccountAnswer(Account),
    UserLink(UserLink),
    GroupLink(GroupLink),
    /// Everybody who has a membership that is rosterd's.
    Owners(Vec<TargetKey>),
    /// Members are positions among the owners.
    Owned {
        group: TargetKey,
        members: Vec<u32>,
    },
    Decision(Decision),
    Hold(Hold),
    Staged(Staged),
    Retry(Retry),
    Change(ChangeView),
    Violation(ViolationView),
    Finding(Finding),
    /// Always the last, with the number of lines before it.
    End(u64),
}

#[derive(Serialize, Deserialize)]
struct TargetHead {
    name: SystemName,
    kind: String,
    can: Found,
    sizes: Option<Sizes>,
    recent: Removals,
    absent: Absent,
    plan: String,
    #[serde(default)]
    seats: Vec<Forecast>,
}

/// How many bytes a line may have: a million owners are a third of it. A few kilobytes of a packed file could else become a
/// line that no memory holds.
const LONGEST_LINE: u64 = 64 << 20;

/// A file that is no recording, or none that this program can use.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It cannot be read at all.
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// A line that is none.
    #[error("line {line} is no record of a recording: {why}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// It begins otherwise.
    #[error("it does not begin as a recording does")]
    NoRecording,
    /// Another program made it.
    #[error("it is in format {format}, and this program reads format {FORMAT}")]
    Format {
        /// The file's.
        format: u32,
    },
    /// It was cut.
    #[error("it ends too early: it was cut, or is still being written")]
    Cut,
    /// It does not hold together.
    #[error("it does not hold together: {0}")]
    Broken(&'static str),
}

/// Writes a recording.
///
/// # Errors
/// The file's.
pub fn write(recording: &Recording, file: impl Write) -> std::io::Result<()> {
    let to = GzEncoder::new(BufWriter::new(file), Compression::default());
    let mut out = Out { to, text: Vec::new(), lines: 0 };
    out.line(&Line::Recording(recording.head.clone()))?;
    out.each(&recording.roster.users, Line::User)?;
    out.each(&recording.roster.groups, Line::Group)?;
    for (key, answer) in &recording.users {
        out.line(&Line::UserAnswer { key: key.clone(), answer: answer.clone() })?;
    }
    for (key, answer) in &recording.groups {
        out.line(&Line::GroupAnswer { key: key.clone(), answer: answer.clone() })?;
    }
    for target in &recording.targets {
        out.target(target)?;
    }
    out.line(&Line::End(out.lines))?;
    out.to.finish()?.flush()
}

struct Out<W: Write> {
    to: GzEncoder<BufWriter<W>>,
    /// The line in the making: the packer is slow with small pieces.
    text: Vec<u8>,
    lines: u64,
}

impl<W: Write> Out<W> {
    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        self.text.clear();
        serde_json::to_writer(&mut self.text, line)?;
        self.text.push(b'\n');
        self.lines += 1;
        self.to.write_all(&self.text)
    }

    fn each<T: Clone>(&mut self, all: &[T], line: fn(T) -> Line) -> std::io::Result<()> {
        all.iter().try_for_each(|one| self.line(&line(one.clone())))
    }

    fn target(&mut self, target: &AtTarget) -> std::io::Result<()> {
        let AtTarget { name, kind, can, memory, roster, absent, accounts, plan } = target;
        let Memory { links, ledger, sizes, recent, decided, waiting } = memory;
        self.line(&Line::Target(TargetHead {
            name: name.clone(),
            kind: kind.clone(),
            can: can.clone(),
            sizes: *sizes,
            recent: recent.clone(),
            absent: absent.clone(),
            plan: plan.plan.clone(),
            seats: plan.seats.clone(),
        }))?;
        self.each(&roster.users, Line::TargetUser)?;
        self.each(&roster.groups, Line::TargetGroup)?;
        self.each(accounts, Line::AccountAnswer)?;
        self.each(&links.users, Line::UserLink)?;
        self.each(&links.groups, Line::GroupLink)?;
        self.line(&Line::Owners(ledger.users.clone()))?;
        for (group, members) in &ledger.groups {
            self.line(&Line::Owned { group: group.clone(), members: members.clone() })?;
        }
        self.each(decided.decisions(), Line::Decision)?;
        self.each(decided.holds(), Line::Hold)?;
        self.each(decided.staged(), Line::Staged)?;
        self.each(waiting, Line::Retry)?;
        self.each(&plan.changes, Line::Change)?;
        self.each(&plan.violations, Line::Violation)?;
        self.each(&plan.findings, Line::Finding)
    }
}

/// Reads a recording, packed or not.
///
/// # Errors
/// See [`Unreadable`].
pub fn read(file: impl Read) -> Result<Recording, Unreadable> {
    let mut file = BufReader::new(file);
    let packed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    if packed { read_lines(BufReader::new(MultiGzDecoder::new(file)), LONGEST_LINE) } else { read_lines(file, LONGEST_LINE) }
}

fn read_lines(mut file: impl BufRead, longest: u64) -> Result<Recording, Unreadable> {
    let mut text = Vec::new();
    let mut read: u64 = 0;
    let mut gathered: Option<Gathered> = None;
    loop {
        text.clear();
        match file.by_ref().take(longest).read_until(b'\n', &mut text) {
            Ok(0) if read == 0 => return Err(Unreadable::NoRecording),
            Ok(0) => return Err(Unreadable::Cut),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(Unreadable::Cut),
            Err(error) => return Err(error.into()),
        }
        if text.len() as u64 == longest && !text.ends_with(b"\n") {
            return Err(Unreadable::Line { line: read + 1, why: format!("it is longer than {longest} bytes") });
        }
        let Some(gathered) = &mut gathered else {
            gathered = Some(Gathered::new(head(&text)?));
            read = 1;
            continue;
        };
        let cut = !text.ends_with(b"\n");
        let line: Line = serde_json::from_slice(&text).map_err(|error| match cut {
            true => Unreadable::Cut,
            false => Unreadable::Line { line: read + 1, why: error.to_string() },
        })?;
        match line {
            Line::End(lines) if lines == read => break,
            Line::End(_) => return Err(Unreadable::Broken("it has lost lines, or gained some")),
            line => gathered.take(line)?,
        }
        read += 1;
    }
    ends_here(&mut file)?;
    gathered.ok_or(Unreadable::NoRecording)?.whole()
}

/// A packed file ends with a checksum of its content, which is compared only for whoever reads on to it.
fn ends_here(file: &mut impl BufRead) -> Result<(), Unreadable> {
    match file.fill_buf() {
        Ok([]) => Ok(()),
        Ok(_) => Err(Unreadable::Broken("something stands after its end")),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(Unreadable::Cut),
        Err(error) => Err(error.into()),
    }
}

/// The first line. The format is looked at before the rest of it is understood: a later one may be made otherwise.
fn head(text: &[u8]) -> Result<Head, Unreadable> {
    #[derive(Deserialize)]
    struct First {
        recording: serde_json::Value,
    }
    let First { recording } = serde_json::from_slice(text).map_err(|_| Unreadable::NoRecording)?;
    let format = recording.get("format").and_then(serde_json::Value::as_u64).ok_or(Unreadable::NoRecording)?;
    if format != u64::from(FORMAT) {
        return Err(Unreadable::Format { format: u32::try_from(format).unwrap_or(u32::MAX) });
    }
    serde_json::from_value(recording).map_err(|error| Unreadable::Line { line: 1, why: error.to_string() })
}

/// A recording in the making.
struct Gathered {
    head: Head,
    roster: SourceRoster,
    users: BTreeMap<SourceKey, Answer<Subject>>,
    groups: BTreeMap<SourceKey, Answer<GroupFact>>,
    targets: Vec<GatheredTarget>,
}

struct GatheredTarget {
    head: TargetHead,
    roster: TargetRoster,
    accounts: Vec<Account>,
    links: Links,
    ledger: Ledger,
    decisions: Vec<Decision>,
    holds: Vec<Hold>,
    staged: Vec<Staged>,
    waiting: Vec<Retry>,
    changes: Vec<ChangeView>,
    violations: Vec<ViolationView>,
    findings: Vec<Finding>,
}

impl Gathered {
    fn new(head: Head) -> Self {
        let roster = SourceRoster::default();
        Self { head, roster, users: BTreeMap::new(), groups: BTreeMap::new(), targets: Vec::new() }
    }

    fn take(&mut self, line: Line) -> Result<(), Unreadable> {
        match line {
            Line::Recording(_) | Line::End(_) => return Err(Unreadable::Broken("it begins twice")),
            Line::User(user) => self.roster.users.push(user),
            Line::Group(group) => self.roster.groups.push(group),
            Line::UserAnswer { key, answer } => drop(self.users.insert(key, answer)),
            Line::GroupAnswer { key, answer } => drop(self.groups.insert(key, answer)),
            Line::Target(head) => self.targets.push(GatheredTarget::new(head)),
            line => {
                let target =
                    self.targets.last_mut().ok_or(Unreadable::Broken("a record of a target stands before the target"))?;
                target.take(line);
            }
        }
        Ok(())
    }

    fn whole(self) -> Result<Recording, Unreadable> {
        let Gathered { head, roster, users, groups, targets } = self;
        let (many, most) = (roster.users.len(), roster.groups.len());
        let within = |group: &SourceGroup| positions(&group.members, many) && positions(&group.subgroups, most);
        if !roster.users.is_sorted_by(|a, b| a.key < b.key)
            || !roster.groups.is_sorted_by(|a, b| a.key < b.key)
            || !roster.groups.iter().all(within)
        {
            return Err(Unreadable::Broken("the source's users and groups do not fit together"));
        }
        let job = head.job.to_string();
        let targets = targets.into_iter().map(|target| target.whole(&job)).collect::<Result<_, _>>()?;
        Ok(Recording { head, roster, users, groups, targets })
    }
}

/// Whether these are positions among so many, ascending, each once.
fn positions(these: &[u32], many: usize) -> bool {
    these.is_sorted_by(|a, b| a < b) && these.last().is_none_or(|last| (*last as usize) < many)
}

impl GatheredTarget {
    fn new(head: TargetHead) -> Self {
        Self {
            head,
            roster: TargetRoster::default(),
            accounts: Vec::new(),
            links: Links::default(),
            ledger: Ledger::default(),
            decisions: Vec::new(),
            holds: Vec::new(),
            staged: Vec::new(),
            waiting: Vec::new(),
            changes: Vec::new(),
            violations: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::TargetUser(user) => self.roster.users.push(user),
            Line::TargetGroup(group) => self.roster.groups.push(group),
            Line::AccountAnswer(account) => self.accounts.push(account),
            Line::UserLink(link) => self.links.users.push(link),
            Line::GroupLink(link) => self.links.groups.push(link),
            Line::Owners(users) => self.ledger.users = users,
            Line::Owned { group, members } => self.ledger.groups.push((group, members)),
            Line::Decision(decision) => self.decisions.push(decision),
            Line::Hold(hold) => self.holds.push(hold),
            Line::Staged(staged) => self.staged.push(staged),
            Line::Retry(retry) => self.waiting.push(retry),
            Line::Change(change) => self.changes.push(change),
            Line::Violation(violation) => self.violations.push(violation),
            Line::Finding(finding) => self.findings.push(finding),
            // Not a target's: taken before.
            Line::Recording(_)
            | Line::User(_)
            | Line::Group(_)
            | Line::UserAnswer { .. }
            | Line::GroupAnswer { .. }
            | Line::Target(_)
            | Line::End(_) => {}
        }
    }

    fn whole(self, job: &str) -> Result<AtTarget, Unreadable> {
        let Self { head, roster, accounts, links, ledger, decisions, holds, staged, waiting, changes, violations, findings } =
            self;
        let TargetHead { name, kind, can, sizes, recent, absent, plan, seats } = head;
        if !roster.users.is_sorted_by(|a, b| a.key < b.key)
            || !roster.groups.is_sorted_by(|a, b| a.key < b.key)
            || !roster.groups.iter().all(|group| positions(&group.members, roster.users.len()))
        {
            return Err(Unreadable::Broken("a target's users and groups do not fit together"));
        }
        if !links.users.is_sorted_by(|a, b| a.source < b.source)
            || !links.groups.is_sorted()
            || !ledger.users.is_sorted_by(|a, b| a < b)
            || !ledger.groups.is_sorted_by(|a, b| a.0 < b.0)
            || !ledger.groups.iter().all(|(_, members)| positions(members, ledger.users.len()))
        {
            return Err(Unreadable::Broken("a target's links or owned memberships do not fit together"));
        }
        let target = name.to_string();
        let plan = PlanView { plan, job: job.to_owned(), target, changes, violations, findings, seats };
        let memory = Memory { links, ledger, sizes, recent, decided: Decided::of(decisions, holds, staged), waiting };
        Ok(AtTarget { name, kind, can, memory, roster, absent, accounts, plan })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_not_taken_into_memory() {
        let endless = BufReader::new(std::io::repeat(b'x'));
        let error = read_lines(endless, 1000).expect_err("no line");
        assert_eq!(error.to_string(), "line 1 is no record of a recording: it is longer than 1000 bytes");
    }
}
