//! What all commands have in common.

use super::{command, fixture, spelunk};
use spelunk_testkit::process;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

const SIGPIPE: i32 = 13;
const NOTHING: [&str; 0] = [];

#[test]
fn program_alone_prints_its_help() {
    let ended = spelunk(NOTHING);

    assert!(ended.success().contains("Usage: spelunk [COMMAND]"), "{}", ended.text());
    assert!(ended.text().contains("Examples:"));
}

#[test]
fn every_command_teaches_by_examples() {
    let help = spelunk(["--help"]);

    for name in [
        "info",
        "ls",
        "cat",
        "find",
        "manifest",
        "doctor",
        "completions",
        "mount",
        "umount",
        "index",
        "search",
        "versions",
    ] {
        assert!(help.text().lines().any(|line| line.trim_start().starts_with(name)), "{name}");
        let ended = spelunk([name, "--help"]);
        assert!(ended.success().contains(&format!("Examples:\n  spelunk {name}")), "{}", ended.text());
    }
}

#[test]
fn exit_codes_stand_in_the_help() {
    let ended = spelunk(["--help"]);

    for code in
        ["\n  0   done", "\n  2   wrong usage", "\n  3   done, but", "\n  10  no such image", "\n  130 inter"]
    {
        assert!(ended.text().contains(code), "{code}");
    }
}

#[test]
fn completions_and_manual_name_the_commands() {
    for arguments in
        [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]]
    {
        let ended = spelunk(arguments);
        assert!(ended.success().contains("manifest"), "{arguments:?}");
    }
}

#[test]
fn doctor_finds_the_jail_in_force() {
    let text = spelunk(["doctor"]);
    let json = spelunk(["doctor", "--json"]);

    assert!(text.success().contains("seccomp") && !text.text().contains("POSSIBLE"), "{}", text.text());
    let object: serde_json::Value = serde_json::from_str(json.success()).expect("an object");
    assert_eq!((&object["schema"], &object["is_safe"]), (&1.into(), &true.into()));
    let checks = object["checks"].as_array().expect("a list");
    let seccomp = checks.iter().find(|check| check["name"] == "seccomp").expect("the layer");
    assert_eq!(seccomp["evidence"], serde_json::json!(["Seccomp: 2"]));
}

#[test]
fn reader_that_goes_away_ends_the_program_without_a_word() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::endless();

    let mut child = command(["cat", &image.path().to_string_lossy(), "endless"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 100]).expect("some bytes");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");

    assert_eq!(output.status.signal(), Some(SIGPIPE), "{}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn interrupt_ends_the_program_and_its_worker() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::endless();

    let mut child = command(["cat", &image.path().to_string_lossy(), "endless"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let group = child.id();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    assert!(!stdout.fill_buf().expect("some bytes").is_empty());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    let status = child.wait().expect("it ends");

    assert_eq!(status.code(), Some(130), "{status}");
    assert_eq!(process::left_behind(group), Vec::<u32>::new());
}
