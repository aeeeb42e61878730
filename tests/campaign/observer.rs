//! The observer: knows the truth, sees every land before and after, reads the journal, and says what must not be.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rosterd::contract::journal::{ChangeRecord, Outcome, RunRecord};
use rosterd::model::change::OpKind;
use rosterd::model::desired::{Desired, Standing};
use rosterd::model::key::{SourceKey, TargetKey, fold, group_key};
use rosterd::model::ledger::Ledger;
use rosterd::model::link::{Links, UserLink};
use rosterd::reconcile::guard::{Judged, Policy};
use rosterd::reconcile::mapping::desired;
use rosterd::reconcile::rules::Rules;

use crate::land::{Land, Manner};
use crate::truth::Truth;

/// A target before something happens.
pub struct Before {
    pub land: Land,
    pub links: Links,
    pub ledger: Ledger,
    pub runs: Vec<RunRecord>,
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

/// Nobody was taken out of a group who had been put there by another hand: only where the group is exclusive or somebody took
/// the membership over, and where the account itself came to its end.
pub fn only_ours_is_taken(wishes: &[&Desired], rules: &Rules, before: &Before, after: &Land, told: &Told) -> Result<(), String> {
    let strips = before.land.manner == Manner::Strip;
    for (key, group) in &before.land.groups {
        let is_due = wishes.iter().any(|wish| wish.groups.iter().any(|g| g.key == *key));
        if is_due && rules.groups.exclusive.matches(&group.name) {
            continue;
        }
        for member in group.members.iter().filter(|member| !after.has(key, member)) {
            let name = before.land.accounts.get(member).map_or("", |account| account.name.as_str());
            let ends = if strips { &[OpKind::DeactivateUser, OpKind::DeleteUser][..] } else { &[OpKind::DeleteUser] };
            if !before.ledger.owns(key, member) && !told.user(ends, member, &[name]) {
                return Err(format!("{name:?} was put into {:?} by another hand, and taken out", group.name));
            }
        }
    }
    Ok(())
}

/// What everybody should have in the end.
pub struct Due<'a> {
    pub wish: &'a Desired,
    pub links: &'a Links,
    pub land: &'a Land,
    pub rules: &'a Rules,
    pub policy: &'a Policy,
}

impl Due<'_> {
    /// Whoever is entitled has an account that is active and in every group that is due, or it is said why not.
    pub fn everybody_has_it(&self, judged: &Judged) -> Result<(), String> {
        if judged.is_refused() {
            return Ok(());
        }
        let plan = judged.admitted.plan();
        let is_refused = |source: &SourceKey| {
            let whose = |at: &usize| plan.changes[*at].op.user().and_then(|user| plan.user(user).source.as_ref());
            judged.refused.iter().any(|(at, _)| whose(at) == Some(source))
        };
        for (at, user) in self.wish.users.iter().enumerate().filter(|(_, u)| u.standing == Standing::Entitled) {
            let source = &user.source;
            let said = plan.findings.iter().any(|f| f.source.as_ref() == Some(source)) || is_refused(source);
            match self.links.users.iter().find(|link| link.source == *source) {
                Some(link) => self.has_it(at as u32, link, said)?,
                None if said => {}
                None => return Err(format!("{source} is entitled and has no account, and nobody says why: {user:?}")),
            }
        }
        Ok(())
    }

    fn has_it(&self, at: u32, link: &UserLink, said: bool) -> Result<(), String> {
        let Some(account) = self.land.accounts.get(&link.target) else {
            // Nor is there another for them, as long as it is said why.
            let gone = format!("{} is linked to an account that is not there", link.source);
            return if said { Ok(()) } else { Err(gone) };
        };
        let name = &account.name;
        if link.leaving_since.is_some() {
            return Err(format!("{name:?} is entitled, and said to be leaving"));
        }
        if fold(&link.name) != fold(name) {
            return Err(format!("the link of {name:?} remembers the name {:?}", link.name));
        }
        if self.policy.protect_users.matches(name) {
            return Ok(());
        }
        let can = self.land.capabilities().can;
        if can.contains(&OpKind::ActivateUser) && account.writable && !account.active {
            return Err(format!("{name:?} is entitled and inactive"));
        }
        for group in self.wish.groups.iter().filter(|g| !g.only_new_users && g.members.contains(&at)) {
            if self.policy.protect_groups.matches(&group.name) || self.land.has(&group.key, &link.target) {
                continue;
            }
            match self.land.groups.get(&group.key) {
                Some(there) if there.writable => return Err(format!("{name:?} is not in {:?}", group.name)),
                Some(_) => {}
                None if said || !self.rules.groups.create_missing || group.name.contains('/') => {}
                None => return Err(format!("{name:?} is to be in {:?}, which is not there", group.name)),
            }
        }
        Ok(())
    }
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
