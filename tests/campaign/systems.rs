//! The systems of a site as the engine meets them: the truth and the lands of the laws, in all weathers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use rosterd::contract::fault::{ConnectorError, Fault};
use rosterd::contract::source::{Ask, GroupFact, Source, SourceFacts, Subject};
use rosterd::contract::target::{Act, Applied, Capabilities, Holds, Target, Wanted, WantedUser, Who};
use rosterd::model::desired::Attributes;
use rosterd::model::key::{SourceKey, SystemName, TargetKey, group_key};
use rosterd::model::roster::{SourceRoster, SourceRosterBuilder, TargetRoster, TargetUser};

use crate::land::{Land, Manner, Refusal};
use crate::truth::Truth;

/// What the source's listing shows.
#[derive(Clone, Debug, Default)]
pub enum Lie {
    /// The truth.
    #[default]
    None,
    /// Nobody, with success.
    Empty,
    /// Some are missing.
    Holes,
    /// What was true before.
    Stale(Truth),
}

/// What goes wrong now.
#[derive(Debug, Default)]
pub struct Weather {
    /// One in so many requests fails; 0: none.
    pub one_in: u32,
    /// Systems that do not answer: 0 the source, then the targets.
    pub down: BTreeSet<usize>,
    /// What the listing shows.
    pub lie: Lie,
    /// After one in so many writes a target shows for some readings what it held before; 0: none.
    pub lag: u32,
    rng: Option<Rng>,
}

impl Weather {
    /// A weather whose accidents are drawn from here.
    pub fn new(rng: Rng, lie: Lie) -> Self {
        Self { lie, rng: Some(rng), ..Self::default() }
    }
}

/// What a target shows instead of what it holds, for so many more readings.
struct Lag {
    shown: Land,
    readings: u32,
}

/// The moment at which the process dies: after so many more requests.
#[derive(Debug, Default)]
struct Fuse {
    left: Option<u32>,
    dead: bool,
}

/// Who is spoken to: the source, then the targets.
pub const SYSTEMS: [&str; 4] = ["okta", "jira", "wiki", "code"];

/// Everything that is not rosterd.
pub struct Nature {
    pub truth: Mutex<Truth>,
    pub lands: Vec<(SystemName, Mutex<Land>)>,
    weather: Mutex<Weather>,
    lags: Vec<Mutex<Option<Lag>>>,
    fuse: Mutex<Fuse>,
    died: tokio::sync::Notify,
    /// How many requests each system has seen.
    asked: Mutex<[u64; SYSTEMS.len()]>,
}

/// A write that fails, before or after its effect.
enum Accident {
    Before(Fault),
    After(Fault),
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("not poisoned")
}

impl Nature {
    pub fn new(truth: Truth, lands: Vec<(SystemName, Land)>) -> Arc<Self> {
        Arc::new(Self {
            truth: Mutex::new(truth),
            lags: lands.iter().map(|_| Mutex::default()).collect(),
            lands: lands.into_iter().map(|(name, land)| (name, Mutex::new(land))).collect(),
            weather: Mutex::default(),
            fuse: Mutex::default(),
            died: tokio::sync::Notify::new(),
            asked: Mutex::default(),
        })
    }

    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        locked(&self.truth)
    }

    pub fn land(&self, at: usize) -> MutexGuard<'_, Land> {
        locked(&self.lands[at].1)
    }

    /// Another weather: where nothing lags any more, nothing of before does.
    pub fn set(&self, weather: Weather) {
        if weather.lag == 0 {
            self.lags.iter().for_each(|lag| *locked(lag) = None);
        }
        *locked(&self.weather) = weather;
    }

    /// What a target shows to a reading.
    fn shown(&self, at: usize) -> Land {
        let mut lag = locked(&self.lags[at]);
        if let Some(Lag { shown, readings }) = lag.as_mut().filter(|lag| lag.readings > 0) {
            *readings -= 1;
            return shown.clone();
        }
        self.land(at).clone()
    }

    /// A write is about to be made, and may not be seen for a while.
    fn may_lag(&self, at: usize) {
        let mut weather = locked(&self.weather);
        let one_in = weather.lag;
        if one_in > 0
            && let Some(rng) = weather.rng.as_mut()
            && rng.u32(..one_in) == 0
        {
            *locked(&self.lags[at]) = Some(Lag { shown: self.land(at).clone(), readings: rng.u32(1..6) });
        }
    }

    /// Lets the process die after so many more requests; `None`: it lives.
    pub fn dies_after(&self, requests: Option<u32>) {
        *locked(&self.fuse) = Fuse { left: requests, dead: false };
    }

    /// Resolves when the process has died.
    pub async fn died(&self) {
        loop {
            self.died.notified().await;
            if locked(&self.fuse).dead {
                return;
            }
        }
    }

    /// How many requests each system has seen so far.
    pub fn asked(&self) -> [u64; SYSTEMS.len()] {
        *locked(&self.asked)
    }

    /// A request goes out: whoever is dead sends none.
    async fn request(&self, system: usize) {
        tokio::task::yield_now().await;
        let dead = {
            let mut fuse = locked(&self.fuse);
            match fuse.left {
                Some(0) => fuse.dead = true,
                Some(n) => fuse.left = Some(n - 1),
                None => {}
            }
            fuse.dead
        };
        if dead {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        locked(&self.asked)[system] += 1;
    }

    fn draw<T>(&self, system: usize, accidents: &[T]) -> Option<Result<T, Fault>>
    where
        T: Clone,
    {
        let mut weather = locked(&self.weather);
        if weather.down.contains(&system) {
            return Some(Err(Fault::Unreachable));
        }
        let one_in = weather.one_in;
        let rng = weather.rng.as_mut()?;
        (one_in > 0 && rng.u32(..one_in) == 0).then(|| Ok(accidents[rng.usize(..accidents.len())].clone()))
    }

    /// Whether a reading fails now.
    fn reading(&self, system: usize) -> Option<Fault> {
        let faults = [
            Fault::Unreachable,
            Fault::Unavailable { retry_after: Some(Duration::from_secs(90)) },
            Fault::Unavailable { retry_after: None },
            Fault::Limited { retry_after: Some(Duration::from_secs(60)) },
            Fault::Limited { retry_after: None },
            Fault::Malformed,
            Fault::Incomplete,
            Fault::Forbidden,
            Fault::Refused,
        ];
        self.draw(system, &faults).map(|fault| fault.unwrap_or_else(|down| down))
    }

    /// Whether a write fails now, and when.
    fn writing(&self, system: usize) -> Option<Accident> {
        let before = [
            Fault::Unreachable,
            Fault::Unavailable { retry_after: None },
            Fault::Limited { retry_after: Some(Duration::from_secs(60)) },
            Fault::Malformed,
            Fault::Rejected,
            Fault::LicenceFull,
            Fault::Forbidden,
            Fault::Conflict,
            Fault::NotFound,
            Fault::Refused,
        ];
        let after = [Fault::Unreachable, Fault::Unavailable { retry_after: None }, Fault::Malformed];
        let all: Vec<(bool, Fault)> =
            before.into_iter().map(|f| (false, f)).chain(after.into_iter().flat_map(|f| vec![(true, f); 3])).collect();
        Some(match self.draw(system, &all)? {
            Err(down) => Accident::Before(down),
            Ok((true, fault)) => Accident::After(fault),
            Ok((false, fault)) => Accident::Before(fault),
        })
    }

    /// Randomness of the weather, for orders that mean nothing.
    fn shuffled<T>(&self, make: impl FnOnce(&mut Rng) -> T) -> T {
        let mut weather = locked(&self.weather);
        make(weather.rng.get_or_insert_with(|| Rng::with_seed(1)))
    }
}

fn error(system: &SystemName, fault: Fault) -> ConnectorError {
    ConnectorError::new(system, "do what was asked", fault, "the weather")
}

/// The truth, as a source.
pub struct SourceOf {
    pub name: SystemName,
    pub nature: Arc<Nature>,
}

impl SourceOf {
    async fn read(&self) -> Result<(), ConnectorError> {
        self.nature.request(0).await;
        self.nature.reading(0).map_or(Ok(()), |fault| Err(error(&self.name, fault)))
    }
}

#[async_trait]
impl Source for SourceOf {
    async fn probe(&self) -> Result<SourceFacts, ConnectorError> {
        self.read().await.map(|()| SourceFacts::default())
    }

    async fn fetch(&self, _: &Ask) -> Result<SourceRoster, ConnectorError> {
        self.read().await?;
        let lie = locked(&self.nature.weather).lie.clone();
        let truth = self.nature.truth().clone();
        Ok(self.nature.shuffled(|rng| match lie {
            Lie::None => truth.listing(rng),
            Lie::Empty => SourceRosterBuilder::new().build(),
            Lie::Holes => truth.with_holes(rng).listing(rng),
            Lie::Stale(before) => before.listing(rng),
        }))
    }

    async fn fetch_user(&self, key: &SourceKey, _: &Ask) -> Result<Option<Subject>, ConnectorError> {
        self.read().await?;
        Ok(self.nature.truth().subject(key.as_str()))
    }

    async fn find(&self, _: &str) -> Result<Option<SourceKey>, ConnectorError> {
        self.read().await.map(|()| None)
    }

    async fn fetch_group(&self, key: &SourceKey) -> Result<Option<GroupFact>, ConnectorError> {
        self.read().await?;
        let truth = self.nature.truth();
        Ok(truth.teams.get(key.as_str()).map(|team| GroupFact { name: team.name.as_str().into(), in_scope: true }))
    }
}

/// A land, as a target.
pub struct TargetOf {
    pub nature: Arc<Nature>,
    pub at: usize,
}

impl TargetOf {
    fn name(&self) -> &SystemName {
        &self.nature.lands[self.at].0
    }

    async fn read(&self) -> Result<(), ConnectorError> {
        self.nature.request(self.at + 1).await;
        self.nature.reading(self.at + 1).map_or(Ok(()), |fault| Err(error(self.name(), fault)))
    }

    /// Does it, to what the target truly holds.
    fn act(&self, act: Act<'_>) -> Result<Applied, Refusal> {
        let mut land = self.nature.land(self.at);
        let mut applied = Applied::default();
        match act {
            Act::CreateGroup { name } => land.create_group(name),
            Act::UpdateUser { user, after, .. } => land.update_user(user.key, after)?,
            Act::CreateUser { attributes } => {
                let key = land.create_user(attributes)?;
                applied.created = account(&land, &key);
            }
            Act::ActivateUser { user } => land.set_active(user.key, true)?,
            Act::AddMembers { group, users } => {
                for user in users {
                    land.member(&group_key(group), user.key, true)?;
                }
            }
            Act::RemoveMember { group, user } => land.member(&group_key(group), user.key, false)?,
            Act::DeactivateUser { user } => {
                let strips = land.manner == Manner::Strip;
                applied.left_groups = if strips { groups_of(&land, user.key) } else { Vec::new() };
                land.set_active(user.key, false)?;
            }
            Act::DeleteUser { user } => land.delete(user.key),
        }
        Ok(applied)
    }
}

fn account(land: &Land, key: &TargetKey) -> Option<TargetUser> {
    let account = land.accounts.get(key)?;
    let silent = matches!(land.manner, Manner::Fixed | Manner::Silent);
    Some(TargetUser {
        key: key.clone(),
        name: account.name.as_str().into(),
        email: account.email.as_deref().filter(|_| !silent).map(Into::into),
        display_name: Some(account.display.as_str().into()),
        active: land.is_active(key),
        writable: account.writable,
    })
}

fn groups_of(land: &Land, key: &TargetKey) -> Vec<String> {
    land.groups.values().filter(|group| group.members.contains(key)).map(|group| group.name.clone()).collect()
}

/// Whether an act's effect is to be seen in a land.
fn is_so(land: &Land, act: Act<'_>) -> Holds {
    let held = |user: Who<'_>| account(land, user.key);
    let says = |yes: bool| if yes { Holds::Yes(None) } else { Holds::No };
    let same = |account: &TargetUser, wanted: &Attributes| {
        *account.name == *wanted.name
            && account.email.as_ref().zip(wanted.email.as_ref()).is_none_or(|(a, b)| a == b)
            && account.display_name.as_ref().zip(wanted.display_name.as_ref()).is_none_or(|(a, b)| a == b)
    };
    match act {
        Act::CreateGroup { name } => says(land.groups.contains_key(&group_key(name))),
        Act::UpdateUser { user, after, .. } => says(held(user).is_some_and(|account| same(&account, after))),
        Act::CreateUser { attributes } => {
            let holder = land.holder(&attributes.name).and_then(|key| account(land, key));
            holder.map_or(Holds::No, |account| Holds::Yes(Some(account)))
        }
        Act::ActivateUser { user } => says(held(user).is_some_and(|account| account.active)),
        Act::AddMembers { group, users } => says(users.iter().all(|user| land.has(&group_key(group), user.key))),
        Act::RemoveMember { group, user } => says(!land.has(&group_key(group), user.key)),
        Act::DeactivateUser { user } => says(held(user).is_some_and(|account| !account.active)),
        Act::DeleteUser { user } => says(held(user).is_none()),
    }
}

#[async_trait]
impl Target for TargetOf {
    async fn probe(&self) -> Result<Capabilities, ConnectorError> {
        self.read().await?;
        Ok(self.nature.land(self.at).capabilities())
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<TargetRoster, ConnectorError> {
        self.read().await?;
        let land = self.nature.shown(self.at);
        Ok(self.nature.shuffled(|rng| land.fetch(wanted, rng)))
    }

    async fn fetch_user(&self, user: &WantedUser) -> Result<Option<(TargetUser, Vec<String>)>, ConnectorError> {
        self.read().await?;
        let land = self.nature.shown(self.at);
        let known = user.key.as_ref().filter(|key| land.accounts.contains_key(*key));
        let Some(key) = known.or_else(|| land.holder(&user.name)) else { return Ok(None) };
        Ok(account(&land, key).map(|account| (account, groups_of(&land, key))))
    }

    async fn apply(&self, act: Act<'_>) -> Result<Applied, ConnectorError> {
        self.nature.request(self.at + 1).await;
        let accident = self.nature.writing(self.at + 1);
        if let Some(Accident::Before(fault)) = accident {
            return Err(error(self.name(), fault));
        }
        self.nature.may_lag(self.at);
        let done = self.act(act).map_err(|refusal| {
            let fault = match refusal {
                Refusal::NameTaken => Fault::Conflict,
                Refusal::NoSuchUser | Refusal::NoSuchGroup => Fault::NotFound,
                Refusal::ReadOnly | Refusal::Cannot => Fault::Rejected,
            };
            error(self.name(), fault)
        });
        match accident {
            // What was done before the answer was lost is told as far as it is known: nothing.
            Some(Accident::After(fault)) => Err(error(self.name(), fault)),
            Some(Accident::Before(_)) | None => done,
        }
    }

    async fn holds(&self, act: Act<'_>) -> Result<Holds, ConnectorError> {
        self.read().await?;
        Ok(is_so(&self.nature.shown(self.at), act))
    }
}
