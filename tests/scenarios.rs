//! The three stories of every identity, told over real sockets: joiner, mover, leaver, and what can go wrong in each.
//!
//! Small worlds made by hand, so that a story can be read from beginning to end; simulated systems, since their quirks are
//! half of each story. Every story ends at rest: one more run finds nothing to do and sends no write.

mod scenarios {
    mod adoption;
    mod approvals;
    mod conflicts;
    mod dry;
    mod explained;
    mod grace;
    mod groups;
    mod guards;
    mod health;
    mod joiner;
    mod leaver;
    mod licence;
    mod mover;
    mod names;
    mod notices;
    mod oauth;
    mod older;
    mod read_only;
    mod record;
    mod recorded;
    mod renames;
    mod retired;
    mod scope;
    mod swaps;
    mod team;
    mod undo;
}

#[path = "support/mod.rs"]
mod support;
