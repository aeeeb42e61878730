//! A hash over typed values: no two different rows give the same bytes, whatever stands in them.

use sha2::{Digest as _, Sha256};

use crate::store::sql::{Raw, Row};

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// A hash in the making. Each value goes in with its type and length.
pub(super) struct Digest(Sha256);

impl Digest {
    /// Of one sort of thing: its name goes in first.
    pub(super) fn new(sort: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.text(sort);
        digest
    }
    /// Of an entry, after the chain before it.
    pub(super) fn link(before: &[u8]) -> Self {
        let mut digest = Self::new("rosterd journal");
        digest.bytes(before);
        digest
    }
    pub(super) fn int(&mut self, value: i64) {
        self.value(b'i', &value.to_le_bytes());
    }
    pub(super) fn text(&mut self, value: &str) {
        self.value(b't', value.as_bytes());
    }
    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.value(b'b', value);
    }
    pub(super) fn text_if(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }
    pub(super) fn bytes_if(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bytes(value),
            None => self.null(),
        }
    }
    fn null(&mut self) {
        self.value(b'n', &[]);
    }
    fn value(&mut self, sort: u8, bytes: &[u8]) {
        self.0.update([sort]);
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
    pub(super) fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}

/// Puts the first columns of a row in, in their order, each with the type that it has and not the one that it should have.
pub(super) fn feed(digest: &mut Digest, row: &Row, columns: usize) -> Result<(), sqlx::Error> {
    for at in 0..row.len().min(columns) {
        match row.raw(at)? {
            Raw::Null => digest.null(),
            Raw::Int(value) => digest.int(value),
            Raw::Real(value) => digest.value(b'r', &value.to_bits().to_le_bytes()),
            Raw::Text(value) => digest.text(value),
            Raw::Bytes(value) => digest.bytes(value),
        }
    }
    Ok(())
}

/// In hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
