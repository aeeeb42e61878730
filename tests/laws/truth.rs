//! What is true at the source: people with their lives, groups with nesting, and how both change from day to day.
//!
//! Names come from small pools, so that two people often want one user name, names are swapped, and only the case differs.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rosterd::contract::source::Subject;
use rosterd::model::key::SourceKey;
use rosterd::model::roster::{Lifecycle, SourceRoster, SourceRosterBuilder, SourceUser};

const LOGINS: [&str; 14] = [
    "ada@example.com",
    "Ada@example.com",
    "bob@example.com",
    "bob@example.org",
    "zoë.müller@example.com",
    "o'neil@example.com",
    "a b@example.com",
    "svc-build@example.com",
    "İpek@example.com",
    "straße",
    "ΟΔΟΣ@example.com",
    "x",
    "lin@example.com",
    "rosterd@example.com",
];
const FIRST: [&str; 6] = ["Ada", "Bob", "Zoë", "ADA", "Lin", "Ib"];
pub const TEAMS: [&str; 12] = [
    "gate-staff",
    "Engineering",
    "app-wiki",
    "app-admins",
    "eng-core",
    "ENG-core",
    "eng-test",
    "sales",
    "jira-administrators",
    "Developers",
    "app-",
    "newcomers",
];

/// One person.
#[derive(Clone, Debug)]
pub struct Person {
    login: String,
    email: Option<String>,
    first: Option<String>,
    last: Option<String>,
    lifecycle: Lifecycle,
    kind: Option<&'static str>,
}

/// One group.
#[derive(Clone, Debug)]
pub struct Team {
    pub name: String,
    pub members: BTreeSet<String>,
    pub children: BTreeSet<String>,
}

/// The source as it is.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub people: BTreeMap<String, Person>,
    pub teams: BTreeMap<String, Team>,
    pub next: u32,
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

fn some_key<T>(rng: &mut Rng, of: &BTreeMap<String, T>) -> Option<String> {
    if of.is_empty() { None } else { of.keys().nth(rng.usize(..of.len())).cloned() }
}

impl Truth {
    /// A source of a few people in a few groups.
    pub fn random(rng: &mut Rng) -> Self {
        let mut truth = Self::default();
        for _ in 0..rng.usize(2..9) {
            truth.join(rng);
        }
        for _ in 0..rng.usize(2..7) {
            truth.found_team(rng);
        }
        for _ in 0..rng.usize(4..24) {
            truth.move_into(rng);
        }
        truth
    }

    /// One day: some of everything that happens in an organisation.
    pub fn day(&mut self, rng: &mut Rng) {
        for _ in 0..rng.usize(1..5) {
            match rng.u8(..15) {
                0 => self.join(rng),
                1 | 2 => self.move_into(rng),
                3 => self.move_out(rng),
                4 => self.live(rng, &[Lifecycle::Disabled]),
                5 | 6 => self.come_back(rng),
                7 => self.live(rng, &[Lifecycle::Pending]),
                8 => self.vanish(rng),
                9 | 10 => self.rename(rng),
                11 => self.swap(rng),
                12 => self.turn_case(rng),
                13 => self.change_details(rng),
                _ => self.reorganise(rng),
            }
        }
    }

    /// Puts most people into most groups, so that a stable beginning has something in it.
    pub fn crowd(&mut self, rng: &mut Rng) {
        for _ in 0..20 {
            self.move_into(rng);
        }
    }

    /// Sees to it that somebody is there, and in a group.
    #[allow(dead_code, reason = "the campaign ends so; the laws have no end")]
    pub fn inhabit(&mut self, rng: &mut Rng) {
        if self.people.is_empty() {
            self.join(rng);
        }
        if self.teams.is_empty() {
            self.found_team(rng);
        }
        if self.teams.values().all(|team| team.members.is_empty()) {
            self.move_into(rng);
        }
    }

    fn join(&mut self, rng: &mut Rng) {
        self.next += 1;
        // Ids do not ascend with time.
        let key = format!("u{:02}-{}", rng.u8(..100), self.next);
        let person = Person {
            login: (*pick(rng, &LOGINS)).to_owned(),
            email: (rng.u8(..10) > 0).then(|| format!("{}@mail.example", pick(rng, &FIRST))),
            first: (rng.u8(..10) > 0).then(|| (*pick(rng, &FIRST)).to_owned()),
            last: (rng.u8(..10) > 0).then(|| "Ost".to_owned()),
            lifecycle: *pick(
                rng,
                &[Lifecycle::Entitled, Lifecycle::Entitled, Lifecycle::Entitled, Lifecycle::Entitled, Lifecycle::Pending],
            ),
            kind: *pick(rng, &[None, Some("staff"), Some("staff"), Some("contractor")]),
        };
        self.people.insert(key.clone(), person);
        for team in self.teams.values_mut() {
            if rng.u8(..3) == 0 {
                team.members.insert(key.clone());
            }
        }
    }

    fn found_team(&mut self, rng: &mut Rng) {
        self.next += 1;
        let key = format!("g{:02}-{}", rng.u8(..100), self.next);
        let name = (*pick(rng, &TEAMS)).to_owned();
        self.teams.insert(key, Team { name, members: BTreeSet::new(), children: BTreeSet::new() });
    }

    fn move_into(&mut self, rng: &mut Rng) {
        if let (Some(person), Some(team)) = (some_key(rng, &self.people), some_key(rng, &self.teams)) {
            self.teams.get_mut(&team).expect("picked").members.insert(person);
        }
    }

    fn move_out(&mut self, rng: &mut Rng) {
        let Some(team) = some_key(rng, &self.teams) else { return };
        let members = &mut self.teams.get_mut(&team).expect("picked").members;
        if let Some(person) = members.iter().nth(rng.usize(..members.len().max(1))).cloned() {
            members.remove(&person);
        }
    }

    fn live(&mut self, rng: &mut Rng, to: &[Lifecycle]) {
        if let Some(key) = some_key(rng, &self.people) {
            self.people.get_mut(&key).expect("picked").lifecycle = *pick(rng, to);
        }
    }

    /// Somebody who is away returns.
    fn come_back(&mut self, rng: &mut Rng) {
        let away: Vec<&mut Person> = self.people.values_mut().filter(|p| p.lifecycle != Lifecycle::Entitled).collect();
        if let Some(person) = rng.choice(away) {
            person.lifecycle = Lifecycle::Entitled;
        }
    }

    fn vanish(&mut self, rng: &mut Rng) {
        let Some(key) = some_key(rng, &self.people) else { return };
        self.people.remove(&key);
        self.teams.values_mut().for_each(|t| {
            t.members.remove(&key);
        });
    }

    fn rename(&mut self, rng: &mut Rng) {
        if let Some(key) = some_key(rng, &self.people) {
            self.people.get_mut(&key).expect("picked").login = (*pick(rng, &LOGINS)).to_owned();
        }
    }

    /// A circle of logins, of two people or more.
    fn swap(&mut self, rng: &mut Rng) {
        let mut keys: Vec<String> = self.people.keys().cloned().collect();
        rng.shuffle(&mut keys);
        keys.truncate(rng.usize(2..5));
        let logins: Vec<String> = keys.iter().map(|k| self.people[k].login.clone()).collect();
        for (at, key) in keys.iter().enumerate() {
            self.people.get_mut(key).expect("picked").login = logins[(at + 1) % logins.len()].clone();
        }
    }

    fn turn_case(&mut self, rng: &mut Rng) {
        let Some(key) = some_key(rng, &self.people) else { return };
        let person = self.people.get_mut(&key).expect("picked");
        person.login = if rng.bool() { person.login.to_uppercase() } else { person.login.to_lowercase() };
        person.email = person.email.as_ref().map(|e| e.to_uppercase());
    }

    fn change_details(&mut self, rng: &mut Rng) {
        let Some(key) = some_key(rng, &self.people) else { return };
        let person = self.people.get_mut(&key).expect("picked");
        match rng.u8(..4) {
            0 => person.email = Some(format!("{}{}@mail.example", pick(rng, &FIRST), rng.u8(..9))),
            1 => person.email = None,
            2 => person.last = Some(format!("West{}", rng.u8(..9))),
            _ => person.kind = Some(if rng.bool() { "contractor" } else { "staff" }),
        }
    }

    fn reorganise(&mut self, rng: &mut Rng) {
        let Some(key) = some_key(rng, &self.teams) else { return self.found_team(rng) };
        match rng.u8(..5) {
            0 => self.found_team(rng),
            1 => {
                self.teams.remove(&key);
                self.teams.values_mut().for_each(|t| {
                    t.children.remove(&key);
                });
            }
            2 => self.teams.get_mut(&key).expect("picked").name = (*pick(rng, &TEAMS)).to_owned(),
            3 => self.teams.get_mut(&key).expect("picked").children.clear(),
            _ => {
                if let Some(child) = some_key(rng, &self.teams) {
                    self.teams.get_mut(&key).expect("picked").children.insert(child);
                }
            }
        }
    }

    fn user(key: &str, person: &Person) -> SourceUser {
        SourceUser {
            key: SourceKey::from(key),
            login: person.login.as_str().into(),
            email: person.email.as_deref().map(Into::into),
            first_name: person.first.as_deref().map(Into::into),
            last_name: person.last.as_deref().map(Into::into),
            display_name: None,
            status: "ACTIVE".into(),
            lifecycle: person.lifecycle,
            profile: Some(person.kind.map_or("{}".into(), |k| format!(r#"{{"userType":"{k}"}}"#).into())),
        }
    }

    /// The listing, whose pages come in any order.
    pub fn listing(&self, rng: &mut Rng) -> SourceRoster {
        enum Line<'a> {
            User(&'a str, &'a Person),
            Team(&'a str, &'a str),
            Member(&'a str, &'a str),
            Child(&'a str, &'a str),
        }
        let mut lines: Vec<Line<'_>> = self.people.iter().map(|(k, p)| Line::User(k, p)).collect();
        for (key, team) in &self.teams {
            lines.push(Line::Team(key, &team.name));
            lines.extend(team.members.iter().map(|m| Line::Member(key, m)));
            lines.extend(team.children.iter().map(|c| Line::Child(key, c)));
        }
        rng.shuffle(&mut lines);
        let mut builder = SourceRosterBuilder::new();
        for line in lines {
            match line {
                Line::User(key, person) => builder.user(Self::user(key, person)),
                Line::Team(key, name) => builder.group(key, name),
                Line::Member(team, person) => builder.member(team, person),
                Line::Child(team, child) => builder.subgroup(team, child),
            }
        }
        builder.build()
    }

    /// The groups that somebody is in, directly or through others.
    pub fn teams_of(&self, person: &str) -> BTreeSet<&str> {
        let mut of: BTreeSet<&str> =
            self.teams.iter().filter(|(_, t)| t.members.contains(person)).map(|(k, _)| k.as_str()).collect();
        loop {
            let more: Vec<&str> = self
                .teams
                .iter()
                .filter(|(k, t)| !of.contains(k.as_str()) && t.children.iter().any(|c| of.contains(c.as_str())))
                .map(|(k, _)| k.as_str())
                .collect();
            if more.is_empty() {
                return of;
            }
            of.extend(more);
        }
    }

    /// The answer about one person, read by itself.
    pub fn subject(&self, key: &str) -> Option<Subject> {
        let person = self.people.get(key)?;
        let groups = self.teams_of(key).into_iter().map(|t| (SourceKey::from(t), self.teams[t].name.as_str().into())).collect();
        Some(Subject { user: Self::user(key, person), in_scope: true, groups })
    }

    /// A listing that lies: people, memberships, whole groups are not in it, though they are there.
    pub fn with_holes(&self, rng: &mut Rng) -> Self {
        let mut lie = self.clone();
        let share = rng.u8(1..5);
        lie.people.retain(|_, _| rng.u8(..10) >= share);
        if rng.bool() {
            lie.teams.retain(|_, _| rng.u8(..10) >= share);
        }
        for team in lie.teams.values_mut() {
            team.members.retain(|_| rng.u8(..10) >= share);
            team.children.retain(|_| rng.u8(..10) >= share);
        }
        lie
    }
}
