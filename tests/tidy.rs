//! The project's habits, enforced: who depends on whom, what stands where, what must not be written.

use regex_lite::Regex;
use spelunk_testkit::{cache, tool};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file.
const FILE_LINES_MAX: usize = 800;

/// Bytes of a tracked file that is not text: fixtures are small, large images are made by script.
const BLOB_BYTES_MAX: u64 = 256 << 10;

/// What each crate may name of the house; everything else comes from outside. The program may not name
/// the parsers, the presenters neither the parsers nor the jail: so nobody can parse guest bytes outside
/// of the worker.
const ARROWS: &[(&str, &[&str])] = &[
    ("tree", &[]),
    ("formats", &["spelunk-tree"]),
    ("sandbox", &["spelunk-formats", "spelunk-tree"]),
    ("mount", &["spelunk-tree"]),
    (".", &["spelunk-mount", "spelunk-sandbox", "spelunk-tree"]),
    ("testkit", &[]),
    ("bench", &["spelunk-testkit"]),
    ("fuzz", &["spelunk-formats", "spelunk-sandbox", "spelunk-tree"]),
];

/// Crates that a part of the house must never reach directly, and why.
const NEVER: &[(&str, &str, &str)] = &[
    ("formats", "fuser", "parsers know no presenter"),
    ("formats", "rustix", "parsers make no system calls"),
    ("formats", "libc", "parsers make no system calls"),
    ("sandbox", "tokio", "the worker is synchronous"),
    ("sandbox", "fuser", "the jail knows no presenter"),
    ("mount", "rusqlite", "presenters know no catalogue"),
    (".", "fuser", "FUSE is spoken in mount/src/fuse only"),
];

/// Where system calls need unsafe code.
const UNSAFE_PLACES: &[&str] = &["sandbox/src/jail/", "sandbox/src/shared.rs"];

/// Files that take part in the project: what git tracks or would track.
fn files() -> Vec<PathBuf> {
    let root = cache::workspace();
    let root = root.to_str().expect("a path in UTF-8");
    let listed =
        tool::run("git", ["-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = String::from_utf8(listed.expect("git lists the files")).expect("names in UTF-8");
    let names = listed.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    names.filter(|name| cache::workspace().join(name).is_file()).collect()
}

/// The text of a file below the workspace.
fn text(path: impl AsRef<Path>) -> String {
    let path = cache::workspace().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All sources in Rust, by path.
fn sources() -> Vec<(PathBuf, String)> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files().into_iter().filter(is_rust).map(|path| (path.clone(), text(path))).collect()
}

/// Names of the dependencies in a manifest, without those that only its tests need.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut is_inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            is_inside = matches!(section, "dependencies" | "build-dependencies")
                || (section.starts_with("target.") && section.ends_with(".dependencies"));
            names.extend(section.strip_prefix("dependencies.").map(str::to_owned));
        } else if is_inside && !line.is_empty() && !line.starts_with('#') {
            let end = line.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
            // Lines without a name continue a list of features.
            names.extend(end.filter(|&end| end > 0).map(|end| line[..end].to_owned()));
        }
    }
    names
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let mut wrong = Vec::new();
    for manifest in files().iter().filter(|path| path.ends_with("Cargo.toml")) {
        let folder =
            manifest.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()).unwrap_or(".");
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == folder) else {
            wrong.push(format!("{folder} stands in no row of ARROWS"));
            continue;
        };
        for name in dependencies(&text(manifest)) {
            if name.starts_with("spelunk") && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{folder} -> {name}"));
            }
            for (_, _, why) in NEVER.iter().filter(|never| never.0 == folder && never.1 == name) {
                wrong.push(format!("{folder} -> {name}: {why}"));
            }
            if folder == "tree" {
                wrong.push(format!("tree -> {name}: the vocabulary needs the standard library alone"));
            }
        }
    }
    assert_none(&wrong, "dependencies against the arrows");
}

#[test]
fn of_the_presenters_webdav_alone_is_asynchronous() {
    let word = Regex::new(r"\btokio\b|\basync (fn|move|\{)|\.await\b").expect("a regular expression");
    let mut wrong = Vec::new();
    for (path, source) in sources().iter().filter(|(path, _)| path.starts_with("mount/src")) {
        let code = source.lines().map(|line| line.split("//").next().unwrap_or_default());
        if !path.starts_with("mount/src/webdav") && code.into_iter().any(|line| word.is_match(line)) {
            wrong.push(path.display().to_string());
        }
    }
    assert_none(&wrong, "presenters that are not synchronous");
}

#[test]
fn the_jail_passes_no_parser_on() {
    const ALLOWED: [&str; 2] = [
        // What the host does itself of a file backup's metadata: it finds where they begin, and holds what they say.
        "pub use spelunk_formats::backup::urbackup::{HEAD_BYTES, Metadata, Stream, TAIL_BYTES_MAX, tail_offset};",
        // Values of options.
        "pub use spelunk_formats::guest::{CodePage, TimeZone};",
    ];
    let mut wrong = Vec::new();
    for (path, source) in sources().iter().filter(|(path, _)| path.starts_with("sandbox/src")) {
        let lines = source.lines().map(str::trim).filter(|line| line.starts_with("pub use spelunk_formats"));
        wrong.extend(
            lines.filter(|line| !ALLOWED.contains(line)).map(|line| format!("{}: {line}", path.display())),
        );
    }
    assert_none(&wrong, "parsers that the program could name");
}

#[test]
fn every_crate_refuses_unsafe_code() {
    let mut wrong = Vec::new();
    for manifest in files().iter().filter(|path| path.ends_with("Cargo.toml")) {
        let wanted = if manifest.starts_with("sandbox") { "deny" } else { "forbid" };
        let manifest_text = text(manifest);
        let inherits = manifest_text.contains("[lints]\nworkspace = true");
        if !inherits && !manifest_text.contains(&format!("unsafe_code = \"{wanted}\"")) {
            wrong.push(format!("{}: unsafe_code is not set to {wanted}", manifest.display()));
        }
    }
    assert_none(&wrong, "lints");
    assert!(text("Cargo.toml").contains("unsafe_code = \"forbid\""), "the workspace's lint is gone");
}

#[test]
fn unsafe_code_stands_in_the_jail_only() {
    // Not the 'unsafe-inline' of a policy for browsers.
    let word = Regex::new(r"\bunsafe([^-\w]|$)").expect("a regular expression");
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        let is_jail = UNSAFE_PLACES.iter().any(|place| path.starts_with(place.trim_end_matches('/')));
        if is_jail || path.ends_with("tests/tidy.rs") {
            continue;
        }
        for (number, line) in source.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if word.is_match(code) {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert_none(&wrong, "unsafe code outside of the jail");
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().filter_map(|(path, source)| {
        let lines = source.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    });
    assert_none(&long.collect::<Vec<_>>(), "files that hold more than one concept");
}

#[test]
fn nothing_is_left_unfinished() {
    // Written apart, so that this file passes its own test.
    let marks =
        [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("XX", "X:")];
    let task = Regex::new(concat!(r"\bTO", r"DO\b(\([^)]+\))?")).expect("a regular expression");
    let ignored = Regex::new(concat!(r"#\[ig", r"nore\]")).expect("a regular expression");
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        for (number, line) in source.lines().enumerate() {
            let has_mark = marks.iter().any(|mark| line.contains(mark));
            let has_bare_task = task.captures_iter(line).any(|found| found.get(1).is_none());
            if has_mark || has_bare_task || ignored.is_match(line) {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert_none(&wrong, "unfinished work without a reason");
}

#[test]
fn every_source_file_is_a_module_of_its_parent() {
    let mut wrong = Vec::new();
    for (path, _) in sources() {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new(""));
        let is_root = matches!(stem, "main" | "lib" | "build");
        let is_own_target =
            ["bin", "benches", "examples", "fuzz_targets"].iter().any(|name| folder.ends_with(name))
                || (folder.ends_with("tests") && folder != Path::new("tests"));
        if is_root || is_own_target {
            continue;
        }
        let (parent, name) = if stem == "mod" {
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            (folder.parent().unwrap_or(Path::new("")), name)
        } else {
            (folder, stem)
        };
        if !is_declared(parent, name) {
            wrong.push(format!("{} is never compiled", path.display()));
        }
    }
    assert_none(&wrong, "files without `mod`");
}

/// Whether one of the files that can hold the modules of `folder` declares `name`.
fn is_declared(folder: &Path, name: &str) -> bool {
    let root = cache::workspace();
    let beside = folder.with_extension("rs");
    let own_targets = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let declaration = Regex::new(&format!(r"\bmod {name}(;| \{{)")).expect("a regular expression");
    let mut parents = vec![root.join(beside)];
    parents.extend(
        own_targets.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "rs")),
    );
    parents.iter().any(|path| fs::read_to_string(path).is_ok_and(|source| declaration.is_match(&source)))
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    let places = Regex::new(concat!(r"(^|[^\w.-])/(wo", r"rk|ro", "ot)/")).expect("a regular expression");
    let mut wrong = Vec::new();
    for path in files() {
        let bytes = fs::read(cache::workspace().join(&path)).expect("a tracked file");
        let Ok(text) = String::from_utf8(bytes) else { continue };
        for (number, line) in text.lines().enumerate() {
            if places.is_match(line) {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert_none(&wrong, "paths of the machine that this was written on");
}

#[test]
fn tracked_blobs_are_small() {
    let large = files().into_iter().filter_map(|path| {
        let bytes = fs::read(cache::workspace().join(&path)).expect("a tracked file");
        let is_large = u64::try_from(bytes.len()).is_ok_and(|len| len > BLOB_BYTES_MAX);
        (is_large && String::from_utf8(bytes).is_err()).then(|| path.display().to_string())
    });
    assert_none(&large.collect::<Vec<_>>(), "images that a script should make");
}

/// The folders below `formats/src/<kind>`, each a format.
fn formats(kind: &str) -> Vec<String> {
    let folder = cache::workspace().join("formats/src").join(kind);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().expect("a name in UTF-8")).collect()
}

/// Whether the format of this kind and folder only lends code to others and is none by itself.
fn is_helper(kind: &str, folder: &str) -> bool {
    let source = text(format!("formats/src/{kind}/{folder}/mod.rs"));
    !Regex::new(r"pub (static|const) \w+: (Format|Table|Assembly|Guest|super::\w+)")
        .expect("a regular expression")
        .is_match(&source)
}

#[test]
fn every_format_is_registered_documented_and_tested() {
    let readme = text("README.md");
    let coverage = text("tests/conformance/coverage.rs");
    let mut wrong = Vec::new();
    for kind in ["container", "partition", "assembly", "guest"] {
        let registry = text(format!("formats/src/{kind}/mod.rs"));
        for folder in formats(kind).iter().filter(|folder| !is_helper(kind, folder)) {
            if !Regex::new(&format!(r"\b{folder}::[A-Z_]+"))
                .expect("a regular expression")
                .is_match(&registry)
            {
                wrong.push(format!("{kind}/{folder} stands in no row of {kind}/mod.rs"));
            }
            if !readme.lines().any(|line| line.starts_with(&format!("| `{folder}` |"))) {
                wrong.push(format!("{kind}/{folder} is missing in README's table"));
            }
            if !coverage.contains(&format!("(\"{kind}/{folder}\"")) {
                wrong.push(format!("{kind}/{folder} has no image in tests/conformance/coverage.rs"));
            }
        }
    }
    assert_none(&wrong, "formats");
}

#[test]
fn every_command_stands_in_the_readme() {
    let program = env!("CARGO_BIN_EXE_spelunk");
    let help = String::from_utf8(tool::run(program, ["--help"]).expect("spelunk --help")).expect("UTF-8");
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    // A description goes on in lines that begin further to the right.
    let commands = commands.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    let names: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 5, "no commands in:\n{help}");
    let readme = text("README.md");
    let missing = names.iter().filter(|name| **name != "help" && !readme.contains(&format!("`{name}`")));
    assert_none(
        &missing.map(ToString::to_string).collect::<Vec<_>>(),
        "commands that README.md does not name",
    );
}

#[test]
fn every_claim_of_the_manuals_names_a_test_that_exists() {
    // In prose after these words; in the table of limits, in the last column.
    let shown_by = Regex::new(r"(?s)Shown by:(.*?)\n\n").expect("a regular expression");
    let in_table = Regex::new(r"\| ([^|]*) \|\n").expect("a regular expression");
    let span = Regex::new(r"`([a-z0-9_]+)`").expect("a regular expression");
    let all: String = sources().into_iter().map(|(_, source)| source).collect();
    let mut wrong = Vec::new();
    for manual in ["SECURITY.md", "docs/mount.md", "docs/webdav.md", "docs/limits.md"] {
        let manual_text = text(manual) + "\n\n";
        let mut count = 0;
        let claims = if manual == "docs/limits.md" { &in_table } else { &shown_by };
        for claim in claims.captures_iter(&manual_text) {
            for test in span.captures_iter(&claim[1]) {
                count += 1;
                let names = [format!("fn {}(", &test[1]), format!("::{}\"", &test[1])];
                if !names.iter().any(|name| all.contains(name)) {
                    wrong.push(format!("{manual}: there is no test {}", &test[1]));
                }
            }
        }
        if count == 0 {
            wrong.push(format!("{manual} names no test at all"));
        }
    }
    assert_none(&wrong, "claims without a test");
}

#[test]
fn every_claim_of_security_and_mount_names_its_test() {
    let mut wrong = Vec::new();
    for manual in ["SECURITY.md", "docs/mount.md"] {
        let manual_text = text(manual);
        let claims = manual_text.split("\n\n").filter(|part| part.starts_with("**"));
        let silent = claims.filter(|claim| !claim.contains("\nShown by: `"));
        wrong.extend(silent.map(|claim| format!("{manual}: {}", claim.lines().next().unwrap_or_default())));
    }
    assert_none(&wrong, "claims that name no test");
}

#[test]
fn dependencies_of_a_manifest_are_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb-c = { version = \"1\" }\n\
                    [target.'cfg(unix)'.dependencies]\nd = \"1\"\n[dev-dependencies]\ne = \"1\"\n\
                    [dependencies.f]\nversion = \"1\"\n";

    assert_eq!(dependencies(manifest), ["a", "b-c", "d", "f"]);
}
