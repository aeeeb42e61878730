//! The journal on disk: the only SQL.
