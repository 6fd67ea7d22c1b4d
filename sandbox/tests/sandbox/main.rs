//! The jail and the worker as processes, through the public door.
//!
//! This program is its own worker, which is why it has a main function. Images are made by `mke2fs` (from
//! e2fsprogs); tests that need it say so when it is not there. `SPELUNK_TEST_IMAGES` names further images or
//! directories of them (with `:` between), which are compared like the ones made here.

mod bad_input;
mod faults;
mod images;
mod jail;
mod metadata;
mod processes;
mod trees;

use libtest_mimic::{Arguments, Trial};
use spelunk_sandbox::{ATTEMPT_COMMAND, WORKER_COMMAND, attempt_main, worker_main};
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(WORKER_COMMAND) => return worker_main(),
        Some(ATTEMPT_COMMAND) => return attempt_main(),
        Some(processes::HOLD_COMMAND) => return processes::hold(),
        Some(jail::NO_SECCOMP_COMMAND) => return jail::open_without_seccomp(),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Processes are counted and timed.
    arguments.test_threads.get_or_insert(1);
    let tests: Vec<Trial> = TESTS.iter().map(|(name, test)| Trial::test(*name, || catch(test))).collect();
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn catch(test: &fn()) -> Result<(), libtest_mimic::Failed> {
    std::panic::catch_unwind(test).map_err(|_| "see above".into())
}

const TESTS: &[(&str, fn())] = &[
    ("inner::jail::everything_forbidden_kills_inside_and_works_outside", jail::attempts),
    ("inner::jail::every_system_call_but_the_allowed_ones_kills", jail::every_call),
    ("inner::jail::layers_are_reported_and_confirmed_by_the_kernel", jail::layers),
    ("jail::worker_holds_its_channels_and_the_image_alone", jail::descriptors),
    ("jail::unprivileged_user_gets_a_jail", jail::unprivileged),
    ("jail::without_namespaces_there_is_still_a_jail", jail::plain_container),
    ("jail::without_seccomp_the_image_is_refused", jail::no_seccomp),
    ("trees::jailed_tree_equals_the_tree_itself", trees::made_images),
    ("trees::given_images_equal_the_trees_themselves", trees::given_images),
    ("trees::large_file_costs_few_round_trips", trees::round_trips),
    ("trees::threads_read_at_once", trees::threads),
    ("inner::faults::killed_worker_is_replaced_during_a_walk", faults::killed),
    ("faults::hanging_worker_is_given_up_at_the_deadline", faults::hanging),
    ("faults::many_deaths_are_survived", faults::many_deaths),
    ("faults::worker_that_cannot_open_again_is_an_error", faults::image_changed),
    ("metadata::damage_and_a_killed_worker_do_not_concern_other_files", metadata::batches),
    ("processes::dropped_disk_leaves_no_process", processes::dropped),
    ("inner::processes::killed_host_leaves_no_process", processes::orphans),
    ("processes::worker_dies_with_its_supervisor", processes::supervisor_killed),
    ("processes::worker_outlives_the_thread_that_started_it", processes::threads),
    ("bad_input::each_is_refused_with_its_kind_and_leaves_no_process", bad_input::refused),
];
