//! Scripts that once failed, cut down to what made them fail.

use crate::course::play;
use crate::script::{Event, Script};

fn holds(script: Script) {
    if let Err(why) = play(&script) {
        panic!("{script:?}: {why}");
    }
}

#[test]
fn a_script_without_any_event_holds() {
    holds(Script::of(0).days(2).with_only(&[]));
}

/// Everybody who was linked has left, and who is new cannot be given an account: a source that shows nobody who is known was
/// never believed again.
#[test]
fn a_source_that_has_changed_all_of_its_people_can_be_believed() {
    let events = [Event::Life, Event::Lies, Event::Disk, Event::Reload];
    let life = [0, 1, 2, 10, 11, 12].map(|day| (day, Event::Life));
    let others = [
        (0, Event::Lies),
        (8, Event::Lies),
        (8, Event::Disk),
        (9, Event::Disk),
        (11, Event::Lies),
        (12, Event::Disk),
        (12, Event::Reload),
    ];
    holds(Script::of(635).days(13).with_only(&events).but_not(&[&life[..], &others[..]].concat()));
}
