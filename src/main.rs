//! The door: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    rosterd::cli::main(std::env::args_os())
}
