//! The door: arguments in, exit code out.

use std::process::ExitCode;

/// Runs come and go in a process that stays for months: this one gives back what a run has used, which glibc's hardly does;
/// and in the static binary threads do not wait for each other, as they do with musl's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    rosterd::cli::main(std::env::args_os())
}
