//! Scripts that once failed, cut down to what made them fail.

use crate::course::Script;

fn holds(script: Script) {
    if let Err(why) = script.play() {
        panic!("{script:?}: {why}");
    }
}

#[test]
fn a_script_without_any_event_holds() {
    holds(Script { days: 2, ..Script::of(0) });
}
