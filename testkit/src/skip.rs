//! Tests that cannot run here say so: `./test` counts the lines.

use crate::tool;

/// Says why the current test does not run.
pub fn because(reason: &str) {
    println!("skipped: {reason}");
}

/// Whether all `programs` are here; says which is not.
pub fn unless_found(programs: &[&str]) -> bool {
    match programs.iter().find(|program| tool::find(program).is_none()) {
        None => true,
        Some(missing) => {
            because(&format!("{missing} is not installed"));
            false
        }
    }
}

/// Whether this process is root; says so when it is not.
pub fn unless_root(what: &str) -> bool {
    if !tool::is_root() {
        because(&format!("{what} needs root"));
    }
    tool::is_root()
}

/// Whether FUSE can be used; says so when it cannot.
pub fn unless_fuse() -> bool {
    if !tool::has_fuse() {
        because("/dev/fuse cannot be opened");
    }
    tool::has_fuse()
}
