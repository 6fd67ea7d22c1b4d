//! `spelunk user`.

use crate::program::path;
use spelunk_testkit::peer::Directory;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PASSWORD: &str = "correct horse battery";

fn run(command: &mut Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // A command that refuses at once does not read.
    _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn user(data: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let output = run(Command::new(path()).arg("user").args(arguments).arg("--data").arg(data), input);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn users_are_made_listed_and_removed() {
    let folder = Directory::new().expect("a directory");
    let data = folder.path().join("data");
    let user = |arguments: &[&str], input: &str| user(&data, arguments, input);

    assert_eq!(user(&["add", "root", "--admin"], &format!("{PASSWORD}\n")), (Some(0), String::new()));
    assert_eq!(user(&["add", "alice", "--allow", "pc", "--allow", "b"], PASSWORD).0, Some(0));
    assert_eq!(user(&["list"], "").1, "alice\t2 clients\nroot\tadministrator\n");
    assert!(user(&["list", "--json"], "").1.starts_with(r#"{"schema":1,"name":"alice","admin":false"#));
    assert_eq!(user(&["passwd", "alice"], "another password\r\n").0, Some(0));

    assert_eq!(user(&["add", "ALICE"], PASSWORD).0, Some(2), "a name that is taken");
    assert_eq!(user(&["add", "b\nob"], PASSWORD).0, Some(2));
    assert_eq!(user(&["add", "bob"], "short").0, Some(2));
    assert_eq!(user(&["passwd", "bob"], PASSWORD).0, Some(1));
    assert_eq!(user(&["remove", "root"], "").0, Some(2), "the last administrator");
    assert_eq!(user(&["remove", "alice"], "").0, Some(0));
    assert_eq!(user(&["list"], "").1, "root\tadministrator\n");
}

#[test]
fn a_terminal_shows_nothing_of_a_password() {
    let folder = Directory::new().expect("a directory");
    let data = folder.path().join("data");
    let command = format!("{} user add root --admin --data {}", path().display(), data.display());
    let script = |typed: &str| {
        // The pause is for the program to have silenced the terminal before anything is typed.
        let shell = format!(
            "(sleep 1; printf '{typed}'; sleep 1; printf '{typed}'; sleep 1) | script -qec '{command}' /dev/null"
        );
        run(Command::new("sh").args(["-c", &shell]), "")
    };
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: there is no script(1)");
        return;
    }

    let output = script(&format!("{PASSWORD}\\r"));

    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("Password: ") && shown.contains("Again: "), "{shown}");
    assert!(!shown.contains("correct"), "{shown}");
    assert_eq!(user(&data, &["list"], "").1, "root\tadministrator\n");
}
