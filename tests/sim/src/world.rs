//! Seeded worlds: people, groups and memberships, the same for the same seed on every machine.
//!
//! Simulators, tests, benches and the demo share them, so that a finding in one can be looked at in another. The names
//! are chosen to hurt: umlauts, apostrophes, spaces, and in group names all that an address has to escape.

mod names;

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::Value;

/// Where somebody stands in life at the identity provider, in Okta's words.
///
/// The words are those of <https://developer.okta.com/docs/reference/api/users/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Made, not yet activated.
    Staged,
    /// Activated, has yet to choose a password.
    Provisioned,
    /// Normal.
    Active,
    /// In the course of a password reset.
    Recovery,
    /// Has to change the password.
    PasswordExpired,
    /// Too many bad passwords.
    LockedOut,
    /// Blocked by an administrator.
    Suspended,
    /// Deactivated.
    Deprovisioned,
}

impl Status {
    /// Every status, in the order in which Okta lists users.
    pub const ALL: [Self; 8] = [
        Self::Staged,
        Self::Provisioned,
        Self::Active,
        Self::Recovery,
        Self::PasswordExpired,
        Self::LockedOut,
        Self::Suspended,
        Self::Deprovisioned,
    ];

    /// Okta's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Staged => "STAGED",
            Self::Provisioned => "PROVISIONED",
            Self::Active => "ACTIVE",
            Self::Recovery => "RECOVERY",
            Self::PasswordExpired => "PASSWORD_EXPIRED",
            Self::LockedOut => "LOCKED_OUT",
            Self::Suspended => "SUSPENDED",
            Self::Deprovisioned => "DEPROVISIONED",
        }
    }

    /// Whether somebody in this status may work.
    pub fn works(self) -> bool {
        match self {
            Self::Provisioned | Self::Active | Self::Recovery | Self::PasswordExpired | Self::LockedOut => true,
            Self::Staged | Self::Suspended | Self::Deprovisioned => false,
        }
    }
}

/// Somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// `00u…`, 20 characters.
    pub id: String,
    /// Unique, regardless of case.
    pub login: String,
    /// The e-mail address; some contractors have none.
    pub email: Option<String>,
    /// First name.
    pub first: String,
    /// Last name.
    pub last: String,
    /// Where they stand.
    pub status: Status,
    /// `employee` or `contractor`.
    pub user_type: String,
    /// The department.
    pub department: String,
    /// The staff number.
    pub number: String,
    /// More profile attributes.
    pub extras: BTreeMap<String, Value>,
    /// Whether the Atlassian app is assigned to them directly.
    pub assigned: bool,
}

/// Where a group comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Made at the identity provider.
    Okta,
    /// Imported from an application or directory.
    App,
    /// Comes with the identity provider and cannot be changed.
    BuiltIn,
}

impl GroupKind {
    /// Okta's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Okta => "OKTA_GROUP",
            Self::App => "APP_GROUP",
            Self::BuiltIn => "BUILT_IN",
        }
    }
}

/// A group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// `00g…`, 20 characters.
    pub id: String,
    /// Unique in a seeded world, regardless of case.
    pub name: String,
    /// Where it comes from.
    pub kind: GroupKind,
    /// Its members as places in [`World::people`], ascending. All statuses.
    pub members: Vec<usize>,
    /// Whether the Atlassian app is assigned to it.
    pub assigned: bool,
}

/// People, groups and memberships.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// What the ids are made from.
    pub seed: u64,
    /// Everybody.
    pub people: Vec<Person>,
    /// All groups, without the identity provider's own "Everyone".
    pub groups: Vec<Group>,
}

impl World {
    /// Makes a world of exactly so many people, groups and memberships (of these no more than fit).
    ///
    /// Of a thousand people some 120 are contractors, 70 do not work (suspended, deactivated, staged) and 800 have the app directly; a
    /// fifth of the groups has it too. Group sizes fall off slowly: a few large ones, many small ones. From 12 people on there
    /// is at least one of each kind that does not work.
    pub fn seeded(seed: u64, people: usize, groups: usize, memberships: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut world = Self { seed, ..Self::default() };
        let mut logins = BTreeSet::new();
        for at in 0..people {
            let person = someone(&mut rng, seed, at, &mut logins);
            world.people.push(person);
        }
        if people >= 12 {
            let rare = [Status::Deprovisioned, Status::Suspended, Status::Staged];
            for (person, status) in world.people.iter_mut().rev().zip(rare) {
                person.status = status;
            }
        }
        let sizes = sizes(&mut rng, people, groups, memberships);
        let mut order: Vec<usize> = (0..people).collect();
        for (at, size) in sizes.into_iter().enumerate() {
            let members = draw(&mut rng, &mut order, size);
            let kind = if rng.u8(..10) == 0 { GroupKind::App } else { GroupKind::Okta };
            let id = id("00g", seed, at);
            world.groups.push(Group { id, name: names::group(at), kind, members, assigned: rng.u8(..5) == 0 });
        }
        world
    }

    /// Adds somebody active with the app, by first and last name, for a world made by hand; the place is returned.
    pub fn add_person(&mut self, first: &str, last: &str) -> usize {
        let at = self.people.len();
        let login = format!("{}.{}@example.com", names::slug(first), names::slug(last));
        self.people.push(Person {
            id: id("00u", self.seed, at),
            email: Some(login.clone()),
            login,
            first: first.to_owned(),
            last: last.to_owned(),
            status: Status::Active,
            user_type: "employee".to_owned(),
            department: "Engineering".to_owned(),
            number: format!("{:06}", at + 1),
            extras: BTreeMap::new(),
            assigned: true,
        });
        at
    }

    /// Adds a group made at the identity provider, for a world made by hand; the place is returned.
    pub fn add_group(&mut self, name: &str, members: &[usize]) -> usize {
        let at = self.groups.len();
        let members: BTreeSet<usize> = members.iter().copied().collect();
        self.groups.push(Group {
            id: id("00g", self.seed, at),
            name: name.to_owned(),
            kind: GroupKind::Okta,
            members: members.into_iter().collect(),
            assigned: true,
        });
        at
    }

    /// Somebody by login.
    pub fn person(&self, login: &str) -> Option<&Person> {
        self.people.iter().find(|p| p.login == login)
    }

    /// A group by name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|g| g.name == name)
    }

    /// How many memberships there are.
    pub fn memberships(&self) -> usize {
        self.groups.iter().map(|g| g.members.len()).sum()
    }

    /// The places of everybody who has the app, directly or through a group; deactivated people have none.
    pub fn app_people(&self) -> BTreeSet<usize> {
        let direct = self.people.iter().enumerate().filter(|(_, p)| p.assigned).map(|(at, _)| at);
        let through = self.groups.iter().filter(|g| g.assigned).flat_map(|g| g.members.iter().copied());
        direct.chain(through).filter(|at| self.people[*at].status != Status::Deprovisioned).collect()
    }
}

/// An id in the identity provider's style: 20 characters, the same for the same seed and place, never twice.
pub fn id(prefix: &str, seed: u64, at: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rng = Rng::with_seed(seed ^ (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut id = String::with_capacity(20);
    id.push_str(prefix);
    while id.len() < 15 {
        id.push(char::from(DIGITS[rng.usize(..62)]));
    }
    // The place itself at the end is what keeps two ids apart.
    for power in (0..5).rev() {
        id.push(char::from(DIGITS[at / 62_usize.pow(power) % 62]));
    }
    id
}

fn someone(rng: &mut Rng, seed: u64, at: usize, logins: &mut BTreeSet<String>) -> Person {
    let (first, last) = names::person(rng);
    let contractor = rng.u32(..1000) < 120;
    let tag = if contractor && rng.bool() { "+ext" } else { "" };
    let stem = format!("{}.{}", names::slug(first), names::slug(last));
    let mut login = format!("{stem}{tag}@example.com");
    if !logins.insert(login.clone()) {
        // The place makes it unique, and is the same in every world with this seed.
        login = format!("{stem}{at}{tag}@example.com");
        logins.insert(login.clone());
    }
    let email = match rng.u32(..100) {
        _ if contractor && rng.u8(..4) == 0 => None,
        0..5 => Some(format!("{}.{at}@mail.example.com", names::slug(last))),
        _ => Some(login.clone()),
    };
    if rng.u32(..100) < 3 {
        login = login.split('.').map(capitalised).collect::<Vec<_>>().join(".");
    }
    let status = match rng.u32(..1000) {
        0..15 => Status::Suspended,
        15..50 => Status::Deprovisioned,
        50..70 => Status::Staged,
        70..85 => Status::Provisioned,
        85..90 => Status::Recovery,
        90..98 => Status::PasswordExpired,
        98..103 => Status::LockedOut,
        _ => Status::Active,
    };
    let mut extras = BTreeMap::new();
    extras.insert("displayName".to_owned(), Value::from(format!("{first} {last}")));
    extras.insert("title".to_owned(), Value::from(names::title(rng)));
    if rng.u8(..4) == 0 {
        // Custom attributes stand beside the others, and are not all text.
        extras.insert("costCenters".to_owned(), Value::from(vec![format!("CC{}", rng.u16(100..999))]));
        extras.insert("remote".to_owned(), Value::from(rng.bool()));
    }
    Person {
        id: id("00u", seed, at),
        login,
        email,
        first: first.to_owned(),
        last: last.to_owned(),
        status,
        user_type: if contractor { "contractor" } else { "employee" }.to_owned(),
        department: names::department(rng).to_owned(),
        number: format!("{:06}", at + 1),
        extras,
        assigned: status != Status::Deprovisioned && rng.u8(..10) < 8,
    }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Sizes of groups that sum up to `memberships`, none larger than `people`.
fn sizes(rng: &mut Rng, people: usize, groups: usize, memberships: usize) -> Vec<usize> {
    let total = memberships.min(people * groups);
    let weights: Vec<f64> = (0..groups).map(|at| (at as f64 + 1.0).powf(-0.6)).collect();
    let sum: f64 = weights.iter().sum();
    let mut sizes: Vec<usize> = weights.iter().map(|w| ((total as f64 * w / sum) as usize).min(people)).collect();
    rng.shuffle(&mut sizes);
    // Rounding and the cap left some over; each group with room takes one in turn.
    let mut left = total - sizes.iter().sum::<usize>();
    while left > 0 {
        for size in sizes.iter_mut().filter(|s| **s < people) {
            if left == 0 {
                break;
            }
            *size += 1;
            left -= 1;
        }
    }
    sizes
}

/// So many different places, ascending: the head of a shuffle that goes no further than needed.
fn draw(rng: &mut Rng, order: &mut [usize], size: usize) -> Vec<usize> {
    for at in 0..size {
        let other = rng.usize(at..order.len());
        order.swap(at, other);
    }
    let mut drawn = order[..size].to_vec();
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_world_and_another_seed_another() {
        let world = World::seeded(7, 300, 20, 2_000);
        assert_eq!(world, World::seeded(7, 300, 20, 2_000));
        assert_ne!(world, World::seeded(8, 300, 20, 2_000));
        assert_eq!((world.people.len(), world.groups.len(), world.memberships()), (300, 20, 2_000));
    }

    #[test]
    fn ids_logins_and_group_names_are_unique_regardless_of_case() {
        let world = World::seeded(1, 5_000, 700, 10_000);
        let ids: BTreeSet<_> = world.people.iter().map(|p| &p.id).chain(world.groups.iter().map(|g| &g.id)).collect();
        assert!(ids.iter().all(|id| id.len() == 20));
        let logins: BTreeSet<_> = world.people.iter().map(|p| p.login.to_lowercase()).collect();
        let names: BTreeSet<_> = world.groups.iter().map(|g| g.name.to_lowercase()).collect();
        assert_eq!((ids.len(), logins.len(), names.len()), (5_700, 5_000, 700));
    }

    #[test]
    fn a_small_world_has_one_of_each_who_does_not_work() {
        let world = World::seeded(3, 12, 3, 10_000);
        for status in [Status::Deprovisioned, Status::Suspended, Status::Staged] {
            assert!(world.people.iter().any(|p| p.status == status), "{status:?}");
        }
        assert_eq!(world.memberships(), 36, "no more memberships than fit");
    }

    #[test]
    fn names_are_chosen_to_hurt() {
        let world = World::seeded(2, 2_000, 60, 5_000);
        for sign in ['+', '/', '#', '%', ' ', '\'', '🚀', 'ü'] {
            assert!(world.groups.iter().any(|g| g.name.contains(sign)), "{sign:?}");
        }
        assert!(world.people.iter().any(|p| p.login.contains('+')));
        assert!(world.people.iter().any(|p| p.login.contains('\'')));
        assert!(world.people.iter().any(|p| p.email.is_none()));
        assert!(world.people.iter().any(|p| !p.last.is_ascii()));
    }

    #[test]
    fn a_world_made_by_hand_knows_who_has_the_app() {
        let mut world = World::default();
        let anna = world.add_person("Anna", "Müller");
        let bob = world.add_person("Bob", "Stone");
        world.people[bob].assigned = false;
        assert_eq!(world.app_people(), BTreeSet::from([anna]));
        world.add_group("staff", &[bob, anna]);
        assert_eq!(world.app_people(), BTreeSet::from([anna, bob]));
        assert_eq!(world.person("anna.mueller@example.com").unwrap().last, "Müller");
        assert_eq!(world.group("staff").unwrap().members, [anna, bob]);
    }
}
