//! The order of renames: a user can only take a name that nobody holds, so chains go from their free end, and swaps and
//! circles park one name for a moment.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::model::desired::Attributes;
use crate::model::key::{fold, same_name};

/// A rename that is wanted: who (any number that names the user), from which name, to which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// Who.
    pub user: u32,
    /// The name held.
    pub from: SmolStr,
    /// The name wanted.
    pub to: SmolStr,
}

/// A step: a rename as it is to be performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// From the name held to the name wanted.
    Whole(u32),
    /// From the name held to a parking name.
    Park(u32, SmolStr),
    /// From the parking name to the name wanted.
    Unpark(u32, SmolStr),
}

/// Orders renames whose wanted names are free or held by users who are renamed themselves. Names are unique on both sides,
/// compared folded. Deterministic: ties are broken by the wanted name.
pub fn order(renames: &[Rename]) -> Vec<Step> {
    let mut waiting: BTreeMap<String, &Rename> = renames.iter().map(|r| (fold(&r.to), r)).collect();
    let mut held: BTreeSet<String> = renames.iter().map(|r| fold(&r.from)).collect();
    let names = held.clone();
    let mut parked: BTreeMap<u32, SmolStr> = BTreeMap::new();
    let mut steps = Vec::with_capacity(renames.len());
    while !waiting.is_empty() {
        let free: Vec<String> = waiting.keys().filter(|to| !held.contains(*to)).cloned().collect();
        for to in &free {
            let Some(rename) = waiting.remove(to) else { continue };
            match parked.remove(&rename.user) {
                Some(name) => steps.push(Step::Unpark(rename.user, name)),
                None => steps.push(Step::Whole(rename.user)),
            }
            held.remove(&fold(&rename.from));
        }
        if free.is_empty() {
            // Only circles are left: park the first name of the first circle, which frees its chain.
            let Some(rename) = waiting.values().find(|r| !parked.contains_key(&r.user)) else { break };
            let name: SmolStr = parking_name(rename, &names).into();
            steps.push(Step::Park(rename.user, name.clone()));
            parked.insert(rename.user, name);
            held.remove(&fold(&rename.from));
        }
    }
    steps
}

/// An update as it is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Who.
    pub user: u32,
    /// What is held.
    pub before: Attributes,
    /// What shall be held.
    pub after: Attributes,
    /// Whether it only parks a name.
    pub parks: bool,
}

/// The updates that are wanted, what is held and what shall be, in the order in which they can be made: renames as
/// [`order`] has them, then the others. `moves` says who may be given another name.
pub fn updates(mut wanted: BTreeMap<u32, (Attributes, Attributes)>, moves: impl Fn(u32) -> bool) -> Vec<Update> {
    let renames: Vec<Rename> = wanted
        .iter()
        .filter(|(user, (before, after))| moves(**user) && !same_name(&before.name, &after.name))
        .map(|(user, (before, after))| Rename { user: *user, from: before.name.clone(), to: after.name.clone() })
        .collect();
    let mut updates = Vec::with_capacity(wanted.len());
    for step in order(&renames) {
        match step {
            Step::Whole(user) => {
                let whole = wanted.remove(&user).map(|(before, after)| Update { user, before, after, parks: false });
                updates.extend(whole);
            }
            Step::Park(user, name) => {
                if let Some((before, _)) = wanted.get(&user) {
                    let after = Attributes { name, ..before.clone() };
                    updates.push(Update { user, before: before.clone(), after, parks: true });
                }
            }
            Step::Unpark(user, name) => {
                if let Some((before, after)) = wanted.remove(&user) {
                    updates.push(Update { user, before: Attributes { name, ..before }, after, parks: false });
                }
            }
        }
    }
    updates.extend(wanted.into_iter().map(|(user, (before, after))| Update { user, before, after, parks: false }));
    updates
}

/// Whether a name is of rosterd's own making, given for a moment.
pub fn is_parking(name: &str) -> bool {
    name.starts_with(PARKING)
}

/// How parking names begin.
const PARKING: &str = "rosterd-moving-";

/// A name that nobody is known to hold. An earlier run that died halfway may have left somebody parked.
fn parking_name(rename: &Rename, held: &BTreeSet<String>) -> String {
    let mut name = format!("{PARKING}{}", fold(&rename.to));
    while held.contains(&name) {
        name.push('-');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rename(user: u32, from: &str, to: &str) -> Rename {
        Rename { user, from: from.into(), to: to.into() }
    }

    #[test]
    fn a_chain_goes_from_its_free_end() {
        let steps = order(&[rename(1, "a", "b"), rename(2, "b", "c"), rename(3, "c", "d")]);
        assert_eq!(steps, [Step::Whole(3), Step::Whole(2), Step::Whole(1)]);
    }

    #[test]
    fn a_swap_parks_one_name() {
        let steps = order(&[rename(1, "a", "b"), rename(2, "b", "a")]);
        let parking: SmolStr = "rosterd-moving-a".into();
        assert_eq!(steps, [Step::Park(2, parking.clone()), Step::Whole(1), Step::Unpark(2, parking)]);
    }

    #[test]
    fn circles_of_any_length_come_out() {
        let steps =
            order(&[rename(1, "a", "b"), rename(2, "b", "c"), rename(3, "c", "A"), rename(4, "x", "y"), rename(5, "y", "x")]);
        assert_eq!(steps.iter().filter(|s| matches!(s, Step::Park(..))).count(), 2);
        assert_eq!(steps.len(), 7);
    }

    #[test]
    fn nobody_is_parked_where_an_earlier_run_left_somebody() {
        let steps = order(&[rename(1, "rosterd-moving-a", "c"), rename(2, "b", "a"), rename(3, "a", "b"), rename(4, "c", "d")]);
        let parked = steps.iter().find_map(|s| match s {
            Step::Park(_, name) => Some(&**name),
            Step::Whole(_) | Step::Unpark(..) => None,
        });
        assert_eq!(parked, Some("rosterd-moving-a-"));
    }
}
