//! What Spelunk shows of foreign images equals what independent readers show, but for what stands in
//! [`known::DIFFERENCES`] with a reason.
//!
//! Each image is read twice: by `spelunk manifest`, and through a real FUSE mount that is walked with
//! ordinary system calls.

mod containers;
mod coverage;
mod known;
mod logical;
mod mounted;
mod selection;
mod urbackup;

use crate::program::{self, Finished};
use known::{Suite, Used, View};
use spelunk_testkit::corpus::{self, Image};
use spelunk_testkit::manifest::{self, Line};
use spelunk_testkit::{Result, parallel, process, skip};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn manifests_of_the_corpus_equal_the_independent_ones() {
    compare_corpus(View::Manifest, |_, path, _| {
        let mut arguments = vec!["manifest".as_ref(), "--show-metafiles".as_ref(), path.as_os_str()];
        let companion = logical::companion(path);
        arguments.extend(companion.iter().flat_map(|other| ["--with".as_ref(), other.as_os_str()]));
        let finished = program::run(arguments)?;
        lines_of(&finished)
    });
}

#[test]
fn mounts_of_the_corpus_equal_the_independent_manifests() {
    if skip::unless_fuse() {
        compare_corpus(View::Mount, |_, path, expected| mounted::lines(path, expected, &layout(expected)));
    }
}

#[test]
fn hostile_and_damaged_images_end_in_a_listing_or_an_error() {
    let Some(root) = corpus::root() else { return };
    let all = corpus::index(&root).expect("the corpus has an index");
    let hostile: Vec<&Image> = all.iter().filter(|image| selection::is_hostile(image)).collect();
    let paths = corpus::unpack(&root, &all, &hostile).expect("the images can be unpacked");
    let wrong = parallel::map(hostile.iter().zip(&paths).collect(), |(image, path)| {
        let finished = program::run(["manifest".as_ref(), path.as_os_str()]).ok()?;
        let left = process::left_behind(finished.group);
        let is_well =
            matches!(finished.code, 0 | 1 | 3) && left.is_empty() && !finished.stderr.contains("panicked");
        (!is_well).then(|| format!("{}: {}, left {left:?}: {}", image.id, finished.code, finished.stderr))
    });
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(hostile.len() > 10, "the corpus has only {} hostile images", hostile.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lines that `spelunk manifest` wrote. Parts that are damaged or not supported are among them: the
/// comparison judges them.
fn lines_of(finished: &Finished) -> Result<Vec<Line>> {
    if !matches!(finished.code, 0 | 3) {
        return Err(format!("exit code {}: {}", finished.code, finished.stderr.trim()).into());
    }
    Ok(manifest::parse(&finished.stdout))
}

/// Compares every image of the selection. `SPELUNK_ONLY`, a regular expression, picks some by their ids.
fn compare_corpus(view: View, read: impl Fn(&Image, &Path, &[Line]) -> Result<Vec<Line>> + Sync) {
    let Some(root) = corpus::root() else { return };
    let only = std::env::var("SPELUNK_ONLY").ok();
    let pattern = regex_lite::Regex::new(only.as_deref().unwrap_or("")).expect("a regular expression");
    let all = corpus::index(&root).expect("the corpus has an index");
    let chosen: Vec<&Image> =
        all.iter().filter(|image| selection::is_readable(image) && pattern.is_match(&image.id)).collect();
    let paths = corpus::unpack(&root, &all, &chosen).expect("the images can be unpacked");
    let used = Used::default();
    let reports = parallel::map(chosen.iter().zip(paths).collect(), |(image, path): (&&Image, PathBuf)| {
        let expected = image.manifest.as_deref().map(fs::read_to_string)?.ok()?;
        let mut expected = manifest::parse(&expected);
        let mut actual = read(image, &path, &expected);
        view.leave_out(&mut expected);
        if let Ok(actual) = &mut actual {
            logical::align(&mut expected, actual);
        }
        used.judge(view, &image.id, &expected, actual)
    });
    let wrong: Vec<String> = reports.into_iter().flatten().collect();
    println!("{} images; {used}", chosen.len());
    assert!(wrong.is_empty(), "{} of {} images differ:\n{}", wrong.len(), chosen.len(), wrong.join("\n"));
    if only.is_none() {
        used.assert_no_row_is_idle(view, Suite::Corpus);
    }
}

/// A disk whose manifest has partitions is mounted with a directory for each.
fn layout(expected: &[Line]) -> Vec<&'static str> {
    let has_partitions = expected.iter().any(|line| line.kind() == "P");
    if has_partitions { vec!["--layout", "volumes"] } else { Vec::new() }
}
