//! The configuration file: as read, and as meant.
