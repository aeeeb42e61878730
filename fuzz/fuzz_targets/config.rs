#![no_main]
//! See `drive/config.rs`.

#[path = "../drive/mod.rs"]
#[allow(dead_code, reason = "each target drives one of them")]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::config::run(data));
