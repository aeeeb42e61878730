//! A model of a target: accounts with stable keys, groups with members, and the three ways in which the products differ.
//! It refuses what a real one refuses, so that an op out of order shows itself.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rosterd::contract::target::{Capabilities, Deactivation, Expiry, Wanted};
use rosterd::model::change::OpKind;
use rosterd::model::desired::Attributes;
use rosterd::model::key::{TargetKey, fold, group_key};
use rosterd::model::roster::{TargetRoster, TargetRosterBuilder, TargetUser};

/// Like which product it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As Jira: everything can be done, accounts have a flag.
    Flag,
    /// As Bitbucket: whoever is in no group is inactive, and there is nothing else to switch.
    Strip,
    /// As an older Confluence: no renames, no updates, no e-mail told.
    Fixed,
    /// As a newer Confluence: no renames, and e-mail is written but not told.
    Silent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub email: Option<String>,
    pub display: String,
    pub active: bool,
    pub writable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub writable: bool,
    pub members: BTreeSet<TargetKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Land {
    pub manner: Manner,
    pub accounts: BTreeMap<TargetKey, Account>,
    pub groups: BTreeMap<TargetKey, Group>,
    next: u32,
}

/// Why an act was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NameTaken,
    NoSuchUser,
    NoSuchGroup,
    ReadOnly,
    Cannot,
}

const NAMES: [&str; 10] =
    ["ada", "Bob@example.com", "x", "admin", "svc-build", "STRASSE", "ada@example.com", "lin", "rosterd", "zoë.müller"];
const GROUPS: [&str; 7] = ["Developers", "jira-administrators", "wiki", "eng-core", "Sales", "everybody", "by-hand"];

impl Land {
    /// A target that people have been working with for a while.
    pub fn random(rng: &mut Rng) -> Self {
        let manner = [Manner::Flag, Manner::Flag, Manner::Strip, Manner::Fixed, Manner::Silent][rng.usize(..5)];
        let mut land = Self { manner, accounts: BTreeMap::new(), groups: BTreeMap::new(), next: 0 };
        for _ in 0..rng.usize(..7) {
            let name = NAMES[rng.usize(..NAMES.len())];
            land.by_hand(name, rng.u8(..8) > 0, rng.u8(..8) > 0);
        }
        for _ in 0..rng.usize(..6) {
            let name = GROUPS[rng.usize(..GROUPS.len())];
            let writable = rng.u8(..8) > 0;
            let members = land.accounts.keys().filter(|_| rng.bool()).cloned().collect();
            land.groups.insert(group_key(name), Group { name: name.to_owned(), writable, members });
        }
        land
    }

    fn by_hand(&mut self, name: &str, active: bool, writable: bool) {
        if self.holder(name).is_none() {
            let key = self.fresh_key();
            let email = Some(format!("{name}@by.hand"));
            self.accounts.insert(key, Account { name: name.to_owned(), email, display: name.to_owned(), active, writable });
        }
    }

    fn fresh_key(&mut self) -> TargetKey {
        self.next += 1;
        // Keys do not ascend with names.
        TargetKey::from(format!("k{}-{}", self.next * 7 % 10, self.next))
    }

    /// Somebody works at the target by hand.
    pub fn edit(&mut self, rng: &mut Rng) {
        let account = self.accounts.keys().nth(rng.usize(..self.accounts.len().max(1))).cloned();
        let group = self.groups.keys().nth(rng.usize(..self.groups.len().max(1))).cloned();
        match rng.u8(..9) {
            0 => self.by_hand(NAMES[rng.usize(..NAMES.len())], true, true),
            1 => {
                if let Some(key) = account {
                    self.delete(&key);
                }
            }
            2 => {
                let name = NAMES[rng.usize(..NAMES.len())];
                if let (Some(key), None) = (account, self.holder(name)) {
                    self.accounts.get_mut(&key).expect("picked").name = name.to_owned();
                }
            }
            3 => {
                if let Some(key) = account {
                    let account = self.accounts.get_mut(&key).expect("picked");
                    account.active = !account.active;
                }
            }
            4 => {
                if let Some(key) = account {
                    self.accounts.get_mut(&key).expect("picked").display = "By Hand".to_owned();
                }
            }
            5 | 6 => {
                if let (Some(user), Some(group)) = (account, group) {
                    self.groups.get_mut(&group).expect("picked").members.insert(user);
                }
            }
            7 => {
                if let (Some(user), Some(group)) = (account, group) {
                    self.groups.get_mut(&group).expect("picked").members.remove(&user);
                }
            }
            _ => {
                if let Some(group) = group {
                    self.groups.remove(&group);
                }
            }
        }
    }

    pub fn capabilities(&self) -> Capabilities {
        let can = |kind: &OpKind| match self.manner {
            Manner::Flag | Manner::Silent => true,
            Manner::Strip => *kind != OpKind::ActivateUser,
            Manner::Fixed => *kind != OpKind::UpdateUser,
        };
        Capabilities {
            product: "Model",
            version: "1".into(),
            acting_as: Some("rosterd".into()),
            can: OpKind::ALL.into_iter().filter(can).collect(),
            can_rename: matches!(self.manner, Manner::Flag | Manner::Strip),
            can_update: self.manner != Manner::Fixed,
            needs_email: self.manner == Manner::Strip,
            deactivation: if self.manner == Manner::Strip { Deactivation::StripGroups } else { Deactivation::Flag },
            adds_per_call: 1,
            writes_at_once: 4,
            admin_groups: vec!["jira-administrators".into()],
            groups_writable: true,
            seats: Vec::new(),
            expires: Expiry::Unknown,
            refuse_user: |attributes| attributes.name.contains('\'').then(|| "holds an apostrophe".to_owned()),
            refuse_group: |name| name.contains('/').then(|| "holds a slash".to_owned()),
            notes: vec![],
        }
    }

    /// Whether the account can be used.
    pub fn is_active(&self, key: &TargetKey) -> bool {
        let active = self.accounts.get(key).is_some_and(|a| a.active);
        active && (self.manner != Manner::Strip || self.groups.values().any(|g| g.members.contains(key)))
    }

    fn told(&self, key: &TargetKey, account: &Account) -> TargetUser {
        let silent = matches!(self.manner, Manner::Fixed | Manner::Silent);
        TargetUser {
            key: key.clone(),
            name: account.name.as_str().into(),
            email: account.email.as_deref().filter(|_| !silent).map(Into::into),
            display_name: Some(account.display.as_str().into()),
            active: self.is_active(key),
            writable: account.writable,
        }
    }

    /// What was asked for, in any order.
    pub fn fetch(&self, wanted: &Wanted, rng: &mut Rng) -> TargetRoster {
        let mut users: Vec<&TargetKey> = Vec::new();
        for user in &wanted.users {
            let by_key = user.key.as_ref().and_then(|k| self.accounts.get_key_value(k)).map(|(k, _)| k);
            users.extend(by_key.or_else(|| self.holder(&user.name)));
        }
        let mut groups: Vec<(&TargetKey, &Group)> =
            wanted.groups.iter().filter_map(|g| self.groups.get_key_value(&group_key(g))).collect();
        users.extend(groups.iter().flat_map(|(_, g)| &g.members));
        rng.shuffle(&mut users);
        rng.shuffle(&mut groups);
        let mut builder = TargetRosterBuilder::new();
        users.into_iter().for_each(|k| builder.user(self.told(k, &self.accounts[k])));
        for (key, group) in groups {
            builder.group(&group.name, group.writable);
            group.members.iter().for_each(|m| builder.member(key, m));
        }
        builder.build()
    }

    /// Whose name this is.
    pub fn holder(&self, name: &str) -> Option<&TargetKey> {
        let name = fold(name);
        self.accounts.iter().find(|(_, a)| fold(&a.name) == name).map(|(k, _)| k)
    }

    pub fn create_user(&mut self, attributes: &Attributes) -> Result<TargetKey, Refusal> {
        if self.holder(&attributes.name).is_some() {
            return Err(Refusal::NameTaken);
        }
        if self.manner == Manner::Strip && attributes.email.is_none() {
            return Err(Refusal::Cannot);
        }
        let key = self.fresh_key();
        let account = Account {
            name: attributes.name.to_string(),
            email: attributes.email.as_deref().map(Into::into),
            display: attributes.display_name.as_deref().unwrap_or(&attributes.name).into(),
            active: true,
            writable: true,
        };
        self.accounts.insert(key.clone(), account);
        Ok(key)
    }

    pub fn update_user(&mut self, key: &TargetKey, after: &Attributes) -> Result<(), Refusal> {
        let holder = self.holder(&after.name).cloned();
        let renames = self.accounts.get(key).is_some_and(|a| a.name != *after.name);
        let manner = self.manner;
        let account = self.accounts.get_mut(key).ok_or(Refusal::NoSuchUser)?;
        if !account.writable {
            return Err(Refusal::ReadOnly);
        }
        if manner == Manner::Fixed || (renames && manner == Manner::Silent) {
            return Err(Refusal::Cannot);
        }
        if holder.is_some_and(|h| h != *key) {
            return Err(Refusal::NameTaken);
        }
        account.name = after.name.to_string();
        if let Some(email) = &after.email {
            account.email = Some(email.to_string());
        }
        if let Some(display) = &after.display_name {
            account.display = display.to_string();
        }
        Ok(())
    }

    pub fn set_active(&mut self, key: &TargetKey, active: bool) -> Result<(), Refusal> {
        let account = self.accounts.get_mut(key).ok_or(Refusal::NoSuchUser)?;
        match self.manner {
            Manner::Strip if active => Err(Refusal::Cannot),
            Manner::Strip => {
                self.groups.values_mut().for_each(|g| {
                    g.members.remove(key);
                });
                Ok(())
            }
            Manner::Flag | Manner::Fixed | Manner::Silent if !account.writable => Err(Refusal::ReadOnly),
            Manner::Flag | Manner::Fixed | Manner::Silent => {
                account.active = active;
                Ok(())
            }
        }
    }

    pub fn create_group(&mut self, name: &str) {
        self.groups.entry(group_key(name)).or_insert_with(|| Group {
            name: name.to_owned(),
            writable: true,
            members: BTreeSet::new(),
        });
    }

    pub fn member(&mut self, group: &TargetKey, user: &TargetKey, inside: bool) -> Result<(), Refusal> {
        if !self.accounts.contains_key(user) {
            return Err(Refusal::NoSuchUser);
        }
        let group = self.groups.get_mut(group).ok_or(Refusal::NoSuchGroup)?;
        if !group.writable {
            return Err(Refusal::ReadOnly);
        }
        if inside {
            group.members.insert(user.clone());
        } else {
            group.members.remove(user);
        }
        Ok(())
    }

    /// Whether a user is in a group.
    #[allow(dead_code, reason = "the campaign asks; the laws look themselves")]
    pub fn has(&self, group: &TargetKey, user: &TargetKey) -> bool {
        self.groups.get(group).is_some_and(|group| group.members.contains(user))
    }

    pub fn delete(&mut self, key: &TargetKey) {
        self.accounts.remove(key);
        self.groups.values_mut().for_each(|g| {
            g.members.remove(key);
        });
    }
}
