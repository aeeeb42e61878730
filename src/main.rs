//! The door: arguments in, exit code out.

use std::process::ExitCode;

/// In the static binary. The allocator of its C library makes threads wait for each other.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rosterd::cli::main(std::env::args_os())
}
