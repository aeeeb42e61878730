//! Scripts that once failed, cut down to what made them fail.

use crate::course::play;
use crate::script::Script;

fn holds(script: Script) {
    if let Err(why) = play(&script) {
        panic!("{script:?}: {why}");
    }
}

#[test]
fn a_script_without_any_event_holds() {
    holds(Script::of(0).days(2).with_only(&[]));
}
