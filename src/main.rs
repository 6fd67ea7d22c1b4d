//! Spelunk, the program: opens disk images like folders.
//!
//! It only presents. Bytes that a guest wrote are parsed by a jailed worker, which is this program
//! executed again with a hidden command.
#![forbid(unsafe_code)]

mod cli;
mod escape;
mod glob;
mod index;
mod library;
mod server;
mod time;
mod volumes;

use spelunk_sandbox::{ATTEMPT_COMMAND, WORKER_COMMAND};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else of the program, and before any thread: the worker locks itself in.
    match std::env::args_os().nth(1) {
        Some(command) if command == WORKER_COMMAND => spelunk_sandbox::worker_main(),
        Some(command) if command == ATTEMPT_COMMAND => spelunk_sandbox::attempt_main(),
        _ => cli::main(),
    }
}
