//! Hostile guests and hostile workers: the parsers end, the jail holds, the host lives.
//!
//! This program is its own worker, which is why it has a main function: [`guests`] has images parsed by the real
//! one, [`attacks`] and [`presenters`] by [`attacker`], which answers as a worker would that was taken over.

#![allow(missing_docs, reason = "tests are named after what they show")]

mod attacker;
mod attacks;
mod crafted;
mod guests;
mod measure;
mod presenters;
mod resources;
mod wire;

use libtest_mimic::{Arguments, Trial};
use spelunk_sandbox::WORKER_COMMAND;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(WORKER_COMMAND) if attacker::is_wanted() => return attacker::main(),
        Some(WORKER_COMMAND) => return spelunk_sandbox::worker_main(),
        Some(attacks::HOST_COMMAND) => return attacks::host(),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Memory and time are measured.
    arguments.test_threads.get_or_insert(1);
    let tests: Vec<Trial> = TESTS.iter().map(|(name, test)| Trial::test(*name, || catch(test))).collect();
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn catch(test: &fn()) -> Result<(), libtest_mimic::Failed> {
    std::panic::catch_unwind(test).map_err(|_| "see above".into())
}

const TESTS: &[(&str, fn())] = &[
    ("guests::every_image_ends_in_time_and_memory", guests::corpus),
    ("guests::crafted_images_end_in_time_and_memory", guests::crafted),
    ("guests::mutated_images_end_in_time_and_memory", guests::mutated),
    ("guests::blocks_that_unpack_to_the_most_stay_within_their_buffers", guests::bombs),
    ("attacks::every_answer_that_a_worker_could_give_is_survived", attacks::all),
    ("presenters::walks_and_archives_of_forged_trees_are_bounded", presenters::walks_and_archives),
    ("presenters::mount_of_forged_trees_lives_and_serves_others", presenters::mounted),
    ("resources::two_hundred_disks_are_open_at_once_and_leave_nothing", resources::many_disks),
    ("resources::mounts_made_again_and_again_leave_no_descriptor", resources::mount_cycles),
    ("resources::hung_disk_delays_nobody_but_who_asks_it", resources::hung_disk),
    ("resources::root_that_came_late_is_shown_from_then_on", resources::late_root),
    ("resources::stopped_supervisor_is_killed_with_its_worker", resources::stopped_supervisor),
    ("resources::snapshot_name_that_no_snapshot_has_is_over_the_limit", resources::snapshot_name),
    ("resources::window_that_cannot_be_made_is_an_error", resources::no_descriptors),
];
