//! Planning with a recording: its source and targets are played behind their contracts, and the plan is made by the one way
//! in which plans are made.
//!
//! Offline nobody can be asked. About a user of the recorded listing the played source says what the listing says; of one
//! whom the listing lacks it says what was said when it was recorded, and otherwise nothing definite, which takes nothing
//! from anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;

use super::{Absent, Account, Asked, AtTarget, Found, Recording};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::{Ask, GroupFact, Source, SourceFacts, Subject};
use crate::contract::target::{Act, Applied, Capabilities, Holds, Nature, Target, Wanted, WantedUser};
use crate::engine::policy::Job;
use crate::engine::prepare::{Prepared, SourceReading, TargetSide, prepare_from};
use crate::engine::progress::Board;
use crate::engine::proofs::Proofs;
use crate::model::key::{SourceKey, SystemName, fold, group_key};
use crate::model::roster::{GroupIx, SourceRoster, TargetRoster, TargetUser};
use crate::reconcile::health::Signs;
use crate::reconcile::mapping::{desired, flatten};

/// What a replay came to.
#[derive(Debug)]
pub struct Replay {
    /// The targets in the order of the recording.
    pub targets: Vec<Replayed>,
    /// Of whom the source would be asked and the recorded listing spoke.
    pub assumed: BTreeSet<SourceKey>,
    /// Of which users and groups the source would be asked, and nothing was recorded.
    pub unanswered: BTreeSet<SourceKey>,
    /// Profile attributes that the rules read and the recording lacks.
    pub attributes: BTreeSet<String>,
    /// Whether the rules may ask for groups of the source that were not read.
    pub groups: bool,
}

/// A target's part.
#[derive(Debug)]
pub struct Replayed {
    /// The target.
    pub target: SystemName,
    /// The plan.
    pub prepared: Prepared,
    /// User names that the rules ask for and nobody asked for when it was recorded: they are taken as free.
    pub unread_users: BTreeSet<String>,
    /// Group names, likewise: they are taken as missing.
    pub unread_groups: BTreeSet<String>,
    /// User names of accounts whose groups the target would be asked for, and were not: they stay.
    pub unread_accounts: BTreeSet<String>,
}

/// Plans with a recording. `natures` are those of the recorded targets' kinds; a target without one is left out.
///
/// # Errors
/// None that a whole recording could cause: the played systems always answer.
pub async fn replay(recording: &Recording, job: &Job, natures: &BTreeMap<SystemName, Nature>) -> Result<Replay, ConnectorError> {
    let source = Arc::new(PlayedSource {
        name: recording.head.source.clone(),
        recording: recording.clone_source(),
        groups_of: OnceLock::new(),
        assumed: Mutex::default(),
        unanswered: Mutex::default(),
    });
    let known = recording.roster.groups.iter().map(|g| g.key.clone()).collect();
    let mut proofs = Proofs::new(source.clone(), job.ask(), known);
    if recording.head.pseudonyms {
        proofs = proofs.playing(recording.users.keys().cloned().collect());
    }
    let reading = SourceReading {
        signs: Signs::of(&recording.roster, &job.health),
        desired: desired(&recording.roster, &job.rules),
        proofs,
    };
    let board = Board::default();
    let mut targets = Vec::new();
    for recorded in &recording.targets {
        let Some(nature) = natures.get(&recorded.name) else { continue };
        let played = Arc::new(PlayedTarget::new(recorded, *nature));
        let side = TargetSide { name: recorded.name.clone(), target: played.clone() };
        let prepared = prepare_from(job, &side, &reading, recorded.memory.clone(), recording.head.made, &board).await?;
        let Unread { users: unread_users, groups: unread_groups, accounts: unread_accounts } =
            std::mem::take(&mut *played.unread());
        targets.push(Replayed { target: recorded.name.clone(), prepared, unread_users, unread_groups, unread_accounts });
    }
    let now = Asked::of(job);
    let set = |of: &Mutex<BTreeSet<SourceKey>>| of.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Replay {
        targets,
        assumed: set(&source.assumed),
        unanswered: set(&source.unanswered),
        attributes: recording.head.asked.lacks(&now),
        groups: recording.head.asked.may_lack_groups(&now),
    })
}

impl Recording {
    fn clone_source(&self) -> Recording {
        let Recording { head, roster, users, groups, targets: _ } = self;
        Recording {
            head: head.clone(),
            roster: roster.clone(),
            users: users.clone(),
            groups: groups.clone(),
            targets: Vec::new(),
        }
    }
}

struct PlayedSource {
    name: SystemName,
    recording: Recording,
    /// The groups of each user, nested ones included.
    groups_of: OnceLock<Vec<Vec<GroupIx>>>,
    assumed: Mutex<BTreeSet<SourceKey>>,
    unanswered: Mutex<BTreeSet<SourceKey>>,
}

impl PlayedSource {
    fn nothing<T>(&self, doing: &str) -> Result<T, ConnectorError> {
        let why = "nobody asked when this was recorded, and offline nobody can";
        Err(ConnectorError::new(&self.name, doing, Fault::Unsupported, why))
    }

    /// What the listing says of a user.
    fn listed(&self, key: &SourceKey) -> Option<Subject> {
        let roster = &self.recording.roster;
        let at = roster.user(key)?;
        let groups_of = self.groups_of.get_or_init(|| {
            let mut groups_of = vec![Vec::new(); roster.users.len()];
            for (group, members) in flatten(roster).iter().enumerate() {
                members.iter().for_each(|member| groups_of[*member as usize].push(group as GroupIx));
            }
            groups_of
        });
        let groups = groups_of[at as usize].iter().map(|group| &roster.groups[*group as usize]);
        Some(Subject {
            user: roster.users[at as usize].clone(),
            in_scope: true,
            groups: groups.map(|group| (group.key.clone(), group.name.clone())).collect(),
        })
    }

    fn note(&self, of: &Mutex<BTreeSet<SourceKey>>, key: &SourceKey) {
        of.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
    }
}

#[async_trait]
impl Source for PlayedSource {
    async fn probe(&self) -> Result<SourceFacts, ConnectorError> {
        self.nothing("be probed")
    }
    async fn fetch(&self, _: &Ask) -> Result<SourceRoster, ConnectorError> {
        Ok(self.recording.roster.clone())
    }
    async fn fetch_user(&self, key: &SourceKey, _: &Ask) -> Result<Option<Subject>, ConnectorError> {
        if let Some(answer) = self.recording.users.get(key) {
            return answer.given(&self.name);
        }
        if let Some(subject) = self.listed(key) {
            self.note(&self.assumed, key);
            return Ok(Some(subject));
        }
        self.note(&self.unanswered, key);
        self.nothing(&format!("tell of user {key}"))
    }
    async fn find(&self, _: &str) -> Result<Option<SourceKey>, ConnectorError> {
        self.nothing("look for a user")
    }
    async fn fetch_group(&self, key: &SourceKey) -> Result<Option<GroupFact>, ConnectorError> {
        if let Some(answer) = self.recording.groups.get(key) {
            return answer.given(&self.name);
        }
        let roster = &self.recording.roster;
        match roster.group(key) {
            Some(at) => Ok(Some(GroupFact { name: roster.groups[at as usize].name.clone(), in_scope: true })),
            None => {
                self.note(&self.unanswered, key);
                self.nothing(&format!("tell of group {key}"))
            }
        }
    }
}

/// Names that are asked for and were not.
#[derive(Default)]
struct Unread {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    accounts: BTreeSet<String>,
}

struct PlayedTarget {
    name: SystemName,
    can: Found,
    roster: TargetRoster,
    absent: Absent,
    accounts: Vec<Account>,
    nature: Nature,
    unread: Mutex<Unread>,
}

impl PlayedTarget {
    fn new(recorded: &AtTarget, nature: Nature) -> Self {
        let AtTarget { name, kind: _, can, memory: _, roster, absent, accounts, plan: _ } = recorded;
        Self {
            name: name.clone(),
            can: can.clone(),
            roster: roster.clone(),
            absent: absent.clone(),
            accounts: accounts.clone(),
            nature,
            unread: Mutex::default(),
        }
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nothing<T>(&self, doing: &str) -> Result<T, ConnectorError> {
        let why = "nobody asked when this was recorded, and offline nobody can";
        Err(ConnectorError::new(&self.name, doing, Fault::Unsupported, why))
    }
}

#[async_trait]
impl Target for PlayedTarget {
    async fn probe(&self) -> Result<Capabilities, ConnectorError> {
        Ok(self.can.with(self.nature))
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<TargetRoster, ConnectorError> {
        let Self { roster, absent, .. } = self;
        let read: BTreeSet<String> = roster.users.iter().map(|user| &user.name).chain(&absent.users).map(|n| fold(n)).collect();
        // Linked users are the journal's, and were asked for by their keys.
        let by_name = wanted.users.iter().filter(|user| user.key.is_none());
        let users = by_name.filter(|user| !read.contains(&fold(&user.name))).map(|user| user.name.to_string());
        let there = roster.groups.iter().map(|group| group.key.clone());
        let read: BTreeSet<_> = there.chain(absent.groups.iter().map(|name| group_key(name))).collect();
        let groups = wanted.groups.iter().filter(|name| !read.contains(&group_key(name))).map(ToString::to_string);
        let (users, groups) = (users.collect(), groups.collect());
        {
            let mut unread = self.unread();
            unread.users = users;
            unread.groups = groups;
        }
        let asked: BTreeSet<_> = wanted.groups.iter().map(|name| group_key(name)).collect();
        let mut roster = roster.clone();
        roster.groups.retain(|group| asked.contains(&group.key));
        Ok(roster)
    }

    async fn fetch_user(&self, user: &WantedUser) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        match self.accounts.iter().find(|account| account.name == user.name) {
            Some(account) => account.answer.given(&self.name),
            None => {
                self.unread().accounts.insert(user.name.to_string());
                self.nothing(&format!("tell of user {}", user.name))
            }
        }
    }

    async fn apply(&self, _: Act<'_>) -> Result<Applied, ConnectorError> {
        self.nothing("be written to")
    }

    async fn holds(&self, _: Act<'_>) -> Result<Holds, ConnectorError> {
        self.nothing("be asked")
    }
}
