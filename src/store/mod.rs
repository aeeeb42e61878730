//! The journal on disk: the only SQL.

/// What a journal is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read: leaves no trace. A store that does not exist yet reads as an empty one.
    Read,
    /// To read and write: created if it does not exist.
    Write,
}
