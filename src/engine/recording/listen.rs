//! Making a recording: a plan is made as always, and whatever the systems said on the way is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Absent, Account, Answer, Asked, AtTarget, FORMAT, Found, Head, Recording};
use crate::contract::fault::{ConnectorError, Fault};
use crate::contract::source::{Ask, GroupFact, Source, SourceFacts, Subject};
use crate::contract::target::{Act, Applied, Capabilities, Holds, Target, Wanted, WantedUser};
use crate::engine::memory::Memory;
use crate::engine::prepare::{RunError, SourceReading, TargetSide, prepare_from};
use crate::engine::progress::Stage;
use crate::engine::run::{World, read_source};
use crate::model::key::{SourceKey, SystemName, fold, group_key};
use crate::model::roster::{SourceRoster, TargetRoster, TargetUser};
use crate::reconcile::render::view;

/// Plans, writes nothing, and keeps what the plan was made of. `kinds` are those of the job's targets.
///
/// Beside the recording come the targets that could not be read, and are not in it.
///
/// # Errors
/// Whatever kept the source from being read whole.
pub async fn record(world: &World, kinds: &BTreeMap<SystemName, String>) -> Result<(Recording, Vec<RunError>), ConnectorError> {
    for side in &world.targets {
        world.board.enter(&side.name, Stage::ReadingSource, 0);
    }
    let source = Arc::new(HeardSource {
        source: world.source.clone(),
        roster: Mutex::default(),
        users: Mutex::default(),
        groups: Mutex::default(),
    });
    let listening = World { source: source.clone(), ..world.clone() };
    let made = world.clock.now();
    let reading = read_source(&listening).await?;
    let sides = world.targets.iter().map(|side| async {
        let kind = kinds.get(&side.name).cloned().unwrap_or_default();
        let heard = at_target(&listening, side, kind, &reading, made).await;
        world.board.enter(&side.name, Stage::Over, 0);
        heard
    });
    let mut targets = Vec::new();
    let mut unread = Vec::new();
    for heard in futures::future::join_all(sides).await {
        match heard {
            Ok(target) => targets.push(target),
            Err(error) => unread.push(error),
        }
    }
    let head = Head {
        format: FORMAT,
        rosterd: env!("CARGO_PKG_VERSION").to_owned(),
        made,
        job: world.job.name.clone(),
        source: world.source_name.clone(),
        pseudonyms: false,
        asked: Asked::of(&world.job),
    };
    let (roster, users, groups) = (taken(&source.roster), taken(&source.users), taken(&source.groups));
    Ok((Recording { head, roster, users, groups, targets }, unread))
}

async fn at_target(
    world: &World,
    side: &TargetSide,
    kind: String,
    reading: &SourceReading,
    made: DateTime<Utc>,
) -> Result<AtTarget, RunError> {
    let memory = Memory::read(&*world.journal, &world.job.name, &side.name, made).await?;
    let heard = Arc::new(HeardTarget { target: side.target.clone(), ear: Mutex::default() });
    let listening = TargetSide { name: side.name.clone(), target: heard.clone() };
    let prepared = prepare_from(&world.job, &listening, reading, memory.clone(), made, &world.board).await?;
    let Ear { roster, absent, accounts } = taken(&heard.ear);
    Ok(AtTarget {
        name: side.name.clone(),
        kind,
        can: Found::of(&prepared.capabilities),
        memory,
        roster,
        absent,
        accounts,
        plan: view(&prepared.judged),
    })
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn taken<T: Default>(of: &Mutex<T>) -> T {
    std::mem::take(&mut locked(of))
}

/// A source whose answers are kept.
struct HeardSource {
    source: Arc<dyn Source>,
    roster: Mutex<SourceRoster>,
    users: Mutex<BTreeMap<SourceKey, Answer<Subject>>>,
    groups: Mutex<BTreeMap<SourceKey, Answer<GroupFact>>>,
}

#[async_trait]
impl Source for HeardSource {
    async fn probe(&self) -> Result<SourceFacts, ConnectorError> {
        self.source.probe().await
    }
    async fn fetch(&self, ask: &Ask) -> Result<SourceRoster, ConnectorError> {
        let roster = self.source.fetch(ask).await?;
        locked(&self.roster).clone_from(&roster);
        Ok(roster)
    }
    async fn fetch_user(&self, key: &SourceKey, ask: &Ask) -> Result<Option<Subject>, ConnectorError> {
        let given = self.source.fetch_user(key, ask).await;
        locked(&self.users).insert(key.clone(), Answer::of(&given));
        given
    }
    async fn find(&self, text: &str) -> Result<Option<SourceKey>, ConnectorError> {
        self.source.find(text).await
    }
    async fn fetch_group(&self, key: &SourceKey) -> Result<Option<GroupFact>, ConnectorError> {
        let given = self.source.fetch_group(key).await;
        locked(&self.groups).insert(key.clone(), Answer::of(&given));
        given
    }
}

/// What a target said.
#[derive(Default)]
struct Ear {
    roster: TargetRoster,
    absent: Absent,
    accounts: Vec<Account>,
}

/// A target whose answers are kept, and that lets no write pass.
struct HeardTarget {
    target: Arc<dyn Target>,
    ear: Mutex<Ear>,
}

#[async_trait]
impl Target for HeardTarget {
    async fn probe(&self) -> Result<Capabilities, ConnectorError> {
        self.target.probe().await
    }
    async fn fetch(&self, wanted: &Wanted) -> Result<TargetRoster, ConnectorError> {
        let roster = self.target.fetch(wanted).await?;
        let mut ear = locked(&self.ear);
        ear.absent = absent(wanted, &roster);
        ear.roster.clone_from(&roster);
        Ok(roster)
    }
    async fn fetch_user(&self, user: &WantedUser) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        let given = self.target.fetch_user(user).await;
        locked(&self.ear).accounts.push(Account { name: user.name.clone(), answer: Answer::of(&given) });
        given
    }
    async fn apply(&self, act: Act<'_>) -> Result<Applied, ConnectorError> {
        let why = format!("a recording only reads, and this would write: {act:?}");
        Err(ConnectorError::new(&SystemName::from("recording"), "write", Fault::Unsupported, why))
    }
    async fn holds(&self, act: Act<'_>) -> Result<Holds, ConnectorError> {
        self.target.holds(act).await
    }
}

/// What was wanted by name and is not in the roster.
fn absent(wanted: &Wanted, roster: &TargetRoster) -> Absent {
    let there: BTreeSet<String> = roster.users.iter().map(|user| fold(&user.name)).collect();
    let users = wanted.users.iter().filter(|user| user.key.is_none() && !there.contains(&fold(&user.name)));
    let groups = wanted.groups.iter().filter(|name| roster.group(&group_key(name)).is_none());
    Absent { users: users.map(|user| user.name.clone()).collect(), groups: groups.cloned().collect() }
}
