//! The observer: knows the truth, sees every land before and after, reads the journal, and says what must not be.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rosterd::contract::journal::{ChangeRecord, Outcome};
use rosterd::model::change::OpKind;
use rosterd::model::desired::{Desired, Standing};
use rosterd::model::key::{SourceKey, TargetKey, fold, group_key};
use rosterd::model::link::Links;
use rosterd::reconcile::mapping::desired;
use rosterd::reconcile::rules::Rules;

use crate::land::{Land, Manner};
use crate::truth::Truth;

/// A target before something happens.
pub struct Before {
    pub land: Land,
    pub links: Links,
}

/// What the source truly wants.
pub fn true_wish(truth: &Truth, rules: &Rules) -> Desired {
    desired(&truth.listing(&mut Rng::with_seed(0)), rules)
}

/// Nobody whom the source entitles has lost anything.
pub fn nobody_lost(wish: &Desired, before: &Before, after: &Land) -> Result<(), String> {
    let linked: BTreeMap<&SourceKey, &TargetKey> = before.links.users.iter().map(|l| (&l.source, &l.target)).collect();
    for user in wish.users.iter().filter(|u| u.standing == Standing::Entitled) {
        let Some(key) = linked.get(&user.source) else { continue };
        let Some(account) = before.land.accounts.get(*key) else { continue };
        if !after.accounts.contains_key(*key) {
            return Err(format!("{} is entitled, and the account {:?} is gone", user.source, account.name));
        }
        // Where there is no flag, whoever is in no group any more is inactive; of groups see below.
        let by_flag = after.manner != Manner::Strip;
        if by_flag && before.land.is_active(key) && !after.is_active(key) {
            return Err(format!("{} is entitled, and {:?} was made inactive", user.source, account.name));
        }
    }
    for group in wish.groups.iter().filter(|g| !g.only_new_users) {
        for member in &group.members {
            let source = &wish.users[*member as usize].source;
            let Some(key) = linked.get(source) else { continue };
            if before.land.has(&group.key, key) && !after.has(&group.key, key) {
                return Err(format!("{source} is to be in {:?}, and was taken out", group.name));
            }
        }
    }
    Ok(())
}

/// Nothing was taken from anybody.
pub fn nothing_taken(before: &Land, after: &Land) -> Result<(), String> {
    for (key, account) in &before.accounts {
        if !after.accounts.contains_key(key) || (before.is_active(key) && !after.is_active(key)) {
            return Err(format!("{:?} lost the account to a source that shows nobody", account.name));
        }
    }
    for (key, group) in &before.groups {
        if let Some(lost) = group.members.iter().find(|member| !after.has(key, member)) {
            return Err(format!("{lost} lost {:?} to a source that shows nobody", group.name));
        }
    }
    Ok(())
}

/// Accounts that have nothing to do with anybody at the source are as they were, whatever groups they are taken out of.
pub fn strangers_are_left_alone(wishes: &[&Desired], before: &Before, links: &Links, after: &Land) -> Result<(), String> {
    let names: BTreeSet<String> =
        wishes.iter().flat_map(|w| &w.users).filter_map(|u| u.attributes.as_ref()).map(|a| fold(&a.name)).collect();
    let ours: BTreeSet<&TargetKey> = before.links.users.iter().chain(&links.users).map(|l| &l.target).collect();
    for (key, account) in &before.land.accounts {
        if ours.contains(key) || names.contains(&fold(&account.name)) {
            continue;
        }
        if after.accounts.get(key) != Some(account) {
            return Err(format!("{:?} is nobody's at the source, and was changed", account.name));
        }
        if let Some(group) = after.groups.iter().find(|(g, group)| group.members.contains(key) && !before.land.has(g, key)) {
            return Err(format!("{:?} is nobody's at the source, and was put into {:?}", account.name, group.1.name));
        }
    }
    Ok(())
}

/// What the journal says may have been done at a target.
pub struct Told {
    /// Of whom: by the target's id and by user name.
    users: BTreeSet<(OpKind, String)>,
    /// Of which memberships.
    members: BTreeSet<(OpKind, TargetKey, String)>,
    groups: BTreeSet<TargetKey>,
}

impl Told {
    /// Reads records: whatever may have taken effect counts.
    pub fn of(changes: &[ChangeRecord]) -> Self {
        let mut told = Self { users: BTreeSet::new(), members: BTreeSet::new(), groups: BTreeSet::new() };
        for change in changes.iter().filter(|c| c.outcome != Some(Outcome::Skipped)) {
            let intent = &change.intent;
            let names = [&intent.before, &intent.after].into_iter().flatten().map(|a| fold(&a.name));
            let whom: Vec<String> = intent
                .user
                .iter()
                .map(|key| key.to_string())
                .chain(intent.user_name.iter().map(|name| fold(name)))
                .chain(names)
                .collect();
            let group = intent.group.as_deref().map(group_key);
            match (&group, intent.kind) {
                (Some(group), OpKind::CreateGroup) => drop(told.groups.insert(group.clone())),
                (Some(group), kind) => told.members.extend(whom.iter().map(|who| (kind, group.clone(), who.clone()))),
                (None, kind) => told.users.extend(whom.iter().map(|who| (kind, who.clone()))),
            }
        }
        told
    }

    fn user(&self, kinds: &[OpKind], key: &TargetKey, names: &[&str]) -> bool {
        let is = |who: &str| kinds.iter().any(|kind| self.users.contains(&(*kind, who.to_owned())));
        is(key.as_str()) || names.iter().any(|name| is(&fold(name)))
    }

    fn member(&self, kind: OpKind, group: &TargetKey, key: &TargetKey, names: &[&str]) -> bool {
        let is = |who: &str| self.members.contains(&(kind, group.clone(), who.to_owned()));
        is(key.as_str()) || names.iter().any(|name| is(&fold(name)))
    }
}

/// Every difference is in the journal.
pub fn every_difference_is_told(before: &Land, after: &Land, told: &Told) -> Result<(), String> {
    let keys: BTreeSet<&TargetKey> = before.accounts.keys().chain(after.accounts.keys()).collect();
    let ends = [OpKind::DeactivateUser, OpKind::DeleteUser];
    for key in keys {
        let (was, is) = (before.accounts.get(key), after.accounts.get(key));
        let names: Vec<&str> = [was, is].into_iter().flatten().map(|account| account.name.as_str()).collect();
        let untold = |what: &str| Err(format!("{names:?} was {what}, and the journal does not tell of it"));
        match (was, is) {
            (None, Some(_)) if !told.user(&[OpKind::CreateUser], key, &names) => return untold("created"),
            (Some(_), None) if !told.user(&[OpKind::DeleteUser], key, &names) => return untold("deleted"),
            (Some(was), Some(is)) => {
                if was.active != is.active && !told.user(&[OpKind::ActivateUser, OpKind::DeactivateUser], key, &names) {
                    return untold("made active or inactive");
                }
                let details = (&was.name, &was.email, &was.display) != (&is.name, &is.email, &is.display);
                if details && !told.user(&[OpKind::UpdateUser], key, &names) {
                    return untold("updated");
                }
            }
            _ => {}
        }
        for (group_key, group) in before.groups.iter().chain(&after.groups) {
            let (was, is) = (before.has(group_key, key), after.has(group_key, key));
            let is_told = match (was, is) {
                (false, true) => told.member(OpKind::AddMember, group_key, key, &names),
                (true, false) => told.member(OpKind::RemoveMember, group_key, key, &names) || told.user(&ends, key, &names),
                _ => true,
            };
            if !is_told {
                return untold(&format!("moved in {:?} ({was} to {is})", group.name));
            }
        }
    }
    for (key, group) in &after.groups {
        if !before.groups.contains_key(key) && !told.groups.contains(key) {
            return Err(format!("group {:?} was created, and the journal does not tell of it", group.name));
        }
    }
    if let Some((_, group)) = before.groups.iter().find(|(key, _)| !after.groups.contains_key(*key)) {
        return Err(format!("group {:?} was deleted", group.name));
    }
    Ok(())
}
