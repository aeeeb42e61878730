//! The wish of a hold: what the source said of the user when the run was undone, so that it can be told when it says
//! something else. A hold ends then, or at the word of a person, and at nothing else.
//!
//! What a run wants of a user follows from the source's facts and from the job's rules, and only the facts are the source's
//! word. So a wish tells the rules by which it was made: if they were edited since, what differs may be their doing, and the
//! hold stands as long as the source has the user in the same place.
//!
//! A source that cannot be asked at the undo leaves the wish open. The next reading fills it, but only if it agrees with what
//! the undone run acted on: whoever has been disabled meanwhile is no longer what that run saw, and keeps no access by it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::hash;
use super::rules::{GroupRule, GroupRules, Mapping, Rules, Scope};
use crate::model::change::Cause;
use crate::model::desired::{Desired, Standing};
use crate::model::key::SourceKey;

/// Where the source has a user, whatever the job's rules make of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It has the user, in its scope.
    There,
    /// It has the user, outside its own scope: not assigned.
    Outside,
    /// It has disabled the user.
    Disabled,
    /// It has no such user.
    Gone,
}

/// A wish as a hold keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum Wish {
    /// What the source said.
    Known {
        /// Where it had the user.
        place: Place,
        /// What followed from that, as a hash.
        wants: String,
        /// By which rules, as a hash.
        rules: String,
    },
    /// The source was not asked, or gave no answer that agrees with what the undone run acted on.
    Open {
        /// Why that run took the user for a leaver, if it did.
        undone: Option<Cause>,
        /// The rules at the undo, as a hash.
        rules: String,
    },
}

impl Wish {
    /// As a hold keeps it.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("words and hashes have a form in JSON")
    }

    /// The same read back; `None` for the bare hash of an earlier version.
    pub fn of_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// What a reading of the source says.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What should be by it.
    pub desired: &'a Desired,
    /// Whom the source has outside its own scope.
    pub outside: &'a BTreeSet<SourceKey>,
    /// The rules by which it was read, as a hash.
    pub rules: &'a str,
}

/// What becomes of a hold by a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weighed {
    /// It stands as it is.
    Stands,
    /// It stands, with this wish from now on.
    Anew(Wish),
    /// The source says something else: it is over.
    Ended,
}

impl Told<'_> {
    /// Whether the source says of the user that nothing is wanted yet, or gave no definite answer: that is no other wish.
    pub fn is_pending(&self, source: &SourceKey) -> bool {
        self.standing(source) == Some(Standing::Pending)
    }

    fn standing(&self, source: &SourceKey) -> Option<Standing> {
        self.desired.user(source).map(|at| self.desired.users[at as usize].standing)
    }

    /// Where the source has the user. Not for one who is pending.
    pub fn place(&self, source: &SourceKey) -> Place {
        match self.standing(source) {
            None => Place::Gone,
            Some(Standing::Disabled) => Place::Disabled,
            Some(_) if self.outside.contains(source) => Place::Outside,
            Some(Standing::Entitled | Standing::OutOfScope | Standing::Pending) => Place::There,
        }
    }

    /// How the user stands, for a person: "the user …".
    pub fn stands(&self, source: &SourceKey) -> &'static str {
        match (self.place(source), self.standing(source)) {
            (Place::Disabled, _) => "is disabled by now",
            (Place::Gone, _) => "is gone by now",
            (Place::Outside, _) => "is no longer assigned",
            (Place::There, Some(Standing::Entitled)) => "is entitled by now",
            (Place::There, _) => "is out of the job's scope by now",
        }
    }

    fn known(&self, source: &SourceKey) -> Wish {
        let wants = hash::wants(self.desired, self.desired.user(source));
        Wish::Known { place: self.place(source), wants, rules: self.rules.to_owned() }
    }

    /// The wish that a hold takes from this reading at the undo; `None`: the user is pending, or the source says something
    /// else by now than what the undone run acted on.
    pub fn at_undo(&self, source: &SourceKey, undone: Option<Cause>) -> Option<Wish> {
        let agrees = !self.is_pending(source) && self.agrees(source, undone, self.rules);
        agrees.then(|| self.known(source))
    }

    /// Weighs the wish of a hold on a user who is not pending. One that was never written is taken as it is now: an earlier
    /// version left it to the first run.
    pub fn weigh(&self, source: &SourceKey, wish: Option<&str>) -> Weighed {
        let now = self.known(source);
        let Some(text) = wish else { return Weighed::Anew(now) };
        let then = Wish::of_text(text);
        if then.as_ref() == Some(&now) {
            return Weighed::Stands;
        }
        let is_same = match then {
            // By the same rules it is the source that wants something else.
            Some(Wish::Known { place, rules, .. }) => place == self.place(source) && rules != self.rules,
            Some(Wish::Open { undone, rules }) => self.agrees(source, undone, &rules),
            None => hash::wish(self.desired, self.desired.user(source)) == text,
        };
        if is_same { Weighed::Anew(now) } else { Weighed::Ended }
    }

    /// Whether the source has the user as the undone run saw it. Out of the job's scope is also whoever the rules left out,
    /// and they may have been edited since.
    fn agrees(&self, source: &SourceKey, undone: Option<Cause>, rules: &str) -> bool {
        let is_wanted = self.standing(source) == Some(Standing::Entitled);
        match (undone, self.place(source)) {
            (None, Place::There) => is_wanted || rules != self.rules,
            (Some(Cause::OutOfScope), Place::There) => !is_wanted,
            (Some(Cause::Disabled), Place::Disabled)
            | (Some(Cause::OutOfScope), Place::Outside)
            | (Some(Cause::Gone), Place::Gone) => true,
            (None | Some(Cause::Disabled | Cause::OutOfScope | Cause::Gone), _) => false,
        }
    }
}

/// The hash of the rules from which it follows what should be for a user. What only says how it is brought about is left out.
pub fn rules_mark(rules: &Rules) -> String {
    let Rules { scope, mapping, groups, leavers: _ } = rules;
    let Scope { member_of, filter, exclude } = scope;
    let Mapping { username, email, display_name } = mapping;
    let GroupRules { include, exclude: without, map, create_missing: _, exclusive: _, new_users: _, all_users } = groups;
    let mut parts: Vec<String> = Vec::new();
    let mut list = |names: &[String]| {
        parts.push(names.len().to_string());
        parts.extend_from_slice(names);
    };
    list(member_of.globs());
    list(&filter.iter().map(|filter| filter.text().to_owned()).collect::<Vec<_>>());
    list(exclude.globs());
    list(&[username, email, display_name].map(|expression| expression.text().to_owned()));
    list(&include.iter().map(|include| format!("{:?}", include.globs())).collect::<Vec<_>>());
    list(without.globs());
    for rule in map {
        match rule {
            GroupRule::Name { from, to } => list(&[std::slice::from_ref(from), to].concat()),
            GroupRule::Pattern { pattern, to } => list(&[std::slice::from_ref(&format!("/{pattern}/")), &to[..]].concat()),
        }
    }
    list(all_users);
    hash::of_texts(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::desired::{Attributes, BY_DEFAULT, DesiredGroup, DesiredUser};

    fn ada(standing: Standing, groups: &[(&str, bool)]) -> Desired {
        let attributes = Attributes { name: "ada".into(), email: None, display_name: None };
        let group = |(name, only_new_users): &(&str, bool)| DesiredGroup {
            key: (*name).into(),
            name: (*name).into(),
            sources: Vec::new(),
            members: vec![0],
            via: vec![BY_DEFAULT],
            only_new_users: *only_new_users,
        };
        Desired {
            users: vec![DesiredUser { source: "1".into(), standing, attributes: Some(attributes) }],
            groups: groups.iter().map(group).collect(),
            ..Desired::default()
        }
    }

    fn weighed(wish: &Wish, desired: &Desired, rules: &str) -> Weighed {
        Told { desired, outside: &BTreeSet::new(), rules }.weigh(&"1".into(), Some(&wish.text()))
    }

    fn at_undo(desired: &Desired, undone: Option<Cause>) -> Option<Wish> {
        Told { desired, outside: &BTreeSet::new(), rules: "a" }.at_undo(&"1".into(), undone)
    }

    #[test]
    fn a_hold_ends_by_the_source_and_not_by_the_rules() {
        let before = ada(Standing::Entitled, &[("eng", false)]);
        let wish = at_undo(&before, None).expect("she is entitled as she was");
        assert_eq!(weighed(&wish, &before, "a"), Weighed::Stands);
        assert_eq!(weighed(&wish, &ada(Standing::Entitled, &[("eng", false), ("new", true)]), "a"), Weighed::Stands);
        let more = ada(Standing::Entitled, &[("all", false), ("eng", false)]);
        assert_eq!(weighed(&wish, &more, "a"), Weighed::Ended, "by the same rules the source has put her there");
        let Weighed::Anew(by_other_rules) = weighed(&wish, &more, "b") else { panic!("the rules may have put her there") };
        assert_eq!(weighed(&by_other_rules, &more, "b"), Weighed::Stands);
        for gone in [ada(Standing::Disabled, &[]), Desired::default()] {
            assert_eq!(weighed(&wish, &gone, "a"), Weighed::Ended);
            assert_eq!(weighed(&wish, &gone, "b"), Weighed::Ended, "no rule disables or deletes anybody");
        }
    }

    #[test]
    fn an_open_wish_takes_what_the_undone_run_acted_on_and_nothing_else() {
        let open = |undone| Wish::Open { undone, rules: "a".into() };
        let lands =
            [ada(Standing::Entitled, &[]), ada(Standing::OutOfScope, &[]), ada(Standing::Disabled, &[]), Desired::default()];
        for (undone, stands) in [
            (None, [true, false, false, false]),
            (Some(Cause::OutOfScope), [false, true, false, false]),
            (Some(Cause::Disabled), [false, false, true, false]),
            (Some(Cause::Gone), [false, false, false, true]),
        ] {
            for (land, stands) in lands.iter().zip(stands) {
                assert_eq!(weighed(&open(undone), land, "a") != Weighed::Ended, stands, "{undone:?} {land:?}");
                assert_eq!(at_undo(land, undone).is_some(), stands, "{undone:?} {land:?}");
            }
        }
        let outside = BTreeSet::from([SourceKey::from("1")]);
        let told = Told { desired: &lands[1], outside: &outside, rules: "b" };
        assert_eq!(told.weigh(&"1".into(), Some(&open(None).text())), Weighed::Ended, "the source took her out of its scope");
        assert_eq!(at_undo(&ada(Standing::Pending, &[]), None), None);
    }

    #[test]
    fn the_wish_of_an_earlier_version_is_read_as_it_was_written() {
        let (before, after) = (ada(Standing::Entitled, &[("eng", false)]), ada(Standing::Disabled, &[]));
        let old = hash::wish(&before, Some(0));
        let told = |desired| Told { desired, outside: &BTreeSet::new(), rules: "a" }.weigh(&"1".into(), Some(&old));
        assert!(matches!(told(&before), Weighed::Anew(_)), "kept in the new form from now on");
        assert_eq!(told(&after), Weighed::Ended);
        assert!(matches!(
            Told { desired: &after, outside: &BTreeSet::new(), rules: "a" }.weigh(&"1".into(), None),
            Weighed::Anew(_)
        ));
    }
}
