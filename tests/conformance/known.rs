//! Where Spelunk and the independent readers differ, and why that is right. A row that explains nothing
//! any more fails the test.

use regex_lite::Regex;
use spelunk_testkit::Result;
use spelunk_testkit::compare::{self, Difference};
use spelunk_testkit::manifest::Line;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Differences of one image that a failed test shows.
const SHOWN_PER_IMAGE: usize = 12;

/// How an image is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Through `spelunk manifest`.
    Manifest,
    /// Through a FUSE mount.
    Mount,
}

impl View {
    /// Takes out what this view does not show: a mount has a directory for each partition, of which no
    /// manifest tells.
    pub fn leave_out(self, lines: &mut Vec<Line>) {
        if self == View::Mount {
            lines.retain(|line| line.kind() != "P");
        }
    }
}

/// The images that are compared together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Those of the corpus.
    Corpus,
    /// UrBackup's samples.
    UrBackup,
}

/// A kind of difference that is right. Each text is a regular expression; an empty one matches all.
struct Row {
    /// `None`: in both views.
    view: Option<View>,
    /// The image's id.
    image: &'static str,
    /// The path in the image.
    path: &'static str,
    /// Columns, or `missing`, `surplus`; `refused` when nothing of the image can be shown.
    what: &'static [&'static str],
    /// What the independent reader says.
    expected: &'static str,
    /// What Spelunk says.
    actual: &'static str,
    /// Why Spelunk is right, or what it leaves out.
    reason: &'static str,
}

/// A row that matches everything: others override what they need.
const ANY: Row = Row { view: None, image: "", path: "", what: &[], expected: "", actual: "", reason: "" };

/// Sleuth Kit's view of FAT: its own files, the label as a file, names that it cannot spell or hold.
const SLEUTH_KIT_FAT: &str = "Sleuth Kit shows the label, the FATs and the boot sector as files";

static DIFFERENCES: &[Row] = &[
    // FAT, by Sleuth Kit.
    Row {
        path: r"(^|/)\$(FAT1|FAT2|MBR)$",
        what: &["missing"],
        expected: "^v ",
        reason: SLEUTH_KIT_FAT,
        ..ANY
    },
    Row {
        path: r" \(Volume Label Entry\)$",
        what: &["missing"],
        expected: "^f 0 ",
        reason: SLEUTH_KIT_FAT,
        ..ANY
    },
    Row {
        path: r"(^|/)dos/(\^|ü)mlaut\.txt$",
        what: &["missing", "surplus"],
        reason: "Sleuth Kit shows a short name's byte 0x81 as '^', not as the ü of code page 437",
        ..ANY
    },
    Row {
        path: r"(^|/)unicode/gr(\^\^|üß)e\.txt$",
        what: &["missing", "surplus"],
        reason: "Sleuth Kit shows a short name's bytes beyond ASCII as '^', not as code page 437 has them",
        ..ANY
    },
    Row {
        image: "fat",
        path: r"(^|/)hidden\.txt$",
        what: &["mode"],
        expected: "^0111$",
        actual: "^0777$",
        reason: "Sleuth Kit's modes without any right to read for hidden files are its own idea",
        ..ANY
    },
    Row {
        image: "gen-fat",
        path: "^long/(L{200}|dir-x{100})",
        what: &["missing", "surplus"],
        reason: "Sleuth Kit cuts names off after 239 characters",
        ..ANY
    },
    // exFAT, by Sleuth Kit.
    Row {
        image: "exfat",
        path: r"^\$(ALLOC_BITMAP|UPCASE_TABLE)$",
        what: &["missing"],
        expected: "^f ",
        reason: "Sleuth Kit shows the volume's own tables as files",
        ..ANY
    },
    Row {
        image: "^gen-exfat",
        what: &["mtime"],
        expected: r"[02468]\.000000000$",
        actual: r"[13579]\.000000000$",
        reason: "Sleuth Kit takes a hundred hundredths for none, not for a second",
        ..ANY
    },
    Row {
        image: "^dissect-fat-exfat$",
        what: &["mtime"],
        reason: "Sleuth Kit does not take the offset from UTC into account, of two hours here",
        ..ANY
    },
    Row {
        image: "^dissect-fat-exfat$",
        path: "^System Volume Information$",
        what: &["mode"],
        expected: "^0555$",
        actual: "^0777$",
        reason: "Sleuth Kit takes the right to write from what is hidden; this directory is not read-only",
        ..ANY
    },
    // NTFS, by ntfs-3g.
    Row {
        path: r"(^|/)\$MFT$",
        what: &["surplus"],
        actual: "^f ",
        reason: "ntfs-3g does not list $MFT, even when it shows the other metafiles",
        ..ANY
    },
    Row {
        path: r"(^|/)\$Extend/\$(ObjId|Quota|Reparse)$",
        what: &["sha256", "mode"],
        expected: "^(-|0000|error: .*)$",
        reason: "ntfs-3g cannot open these files, which have no data but an index",
        ..ANY
    },
    Row {
        view: Some(View::Manifest),
        path: r"(^|/)\$BadClus:\$Bad$",
        what: &["sha256"],
        actual: "^-$",
        reason: "a stream larger than the 512 MiB up to which manifests have digests",
        ..ANY
    },
    Row {
        path: r"(^|/)reparse/(junction-|mountpoint-|sym-)",
        what: &["type", "size", "sha256", "extra"],
        reason: "ntfs-3g resolves links against the host's mount point, or shows none; Spelunk shows the target",
        ..ANY
    },
    Row {
        view: Some(View::Mount),
        path: r"(^|/)reparse/(appexec|cloud-file|dedup)$",
        what: &["type", "size", "sha256"],
        expected: "^(x|-)$",
        reason: "ntfs-3g shows nothing of a reparse point that it has no plug-in for; this is an empty file",
        ..ANY
    },
    Row {
        image: "^dfvfs-ntfs-.*vhdx?$",
        path: "^p1/a_link$",
        what: &["size", "sha256", "extra"],
        reason: "ntfs-3g puts the host's mount point before the target of an absolute link",
        ..ANY
    },
    Row {
        image: "^syzseed-ntfs3",
        path: "^file0/file1$",
        what: &["size", "sha256", "extra"],
        actual: "^39$|^[0-9a-f]{64}$|^/tmp/syz-imagegen.* reparse=a000000c$",
        reason: "ntfs-3g does not take a link's target that begins with a slash",
        ..ANY
    },
    Row {
        image: "^syzseed-ntfs3",
        path: "^file",
        what: &["mode"],
        expected: "^0777$",
        actual: "^0755$",
        reason: "the mode that Linux stored ($LXMOD), which ntfs-3g does not show",
        ..ANY
    },
    Row {
        image: "^gen-ntfs-(4k|4kn|64k)",
        path: r"^wof/[a-z0-9-]+\.bin$",
        what: &["mode", "extra"],
        actual: "^(-|0777|reparse=80000017)$",
        reason: "the manifest describes the files that were packed; nothing but their bytes is the packed ones'",
        ..ANY
    },
    // ext.
    Row {
        image: "^ext4view-test_disk1$",
        path: "^encrypted_dir/",
        what: &["sha256"],
        expected: "^ERR:Required key not available$",
        actual: "^(ERR:not supported|error: Operation not supported .*)$",
        reason: "both readers refuse an encrypted file, each in its own words",
        ..ANY
    },
    Row {
        image: "^ext4view-test_disk_4k_block_journal$",
        path: r"^dir\d+(/|$)",
        what: &["missing", "surplus"],
        reason: "Sleuth Kit does not replay the journal, in which these directories still are",
        ..ANY
    },
    // Partitions.
    Row {
        image: "^gen-(gpt|vhdx-dynamic-32m|qcow2-z|vmdk-stream)",
        path: "^p5/",
        what: &["missing"],
        reason: "btrfs is not read yet",
        ..ANY
    },
    Row {
        view: Some(View::Mount),
        image: "gpt|vhdx-log-replay",
        what: &["refused"],
        actual: "no filesystem to show on this disk",
        reason: "of disks without any filesystem there is nothing to mount",
        ..ANY
    },
    Row {
        view: Some(View::Manifest),
        image: "^dissect-volume-gpt",
        path: r"^p\d$",
        what: &["size", "extra", "missing", "surplus"],
        reason: "sfdisk sees only the protective MBR of a disk that was cut off; its GPT is whole and says this",
        ..ANY
    },
    Row {
        view: Some(View::Manifest),
        image: "^gptman-disk2$",
        path: r"^p\d$",
        what: &["size", "extra", "missing", "surplus"],
        reason: "sfdisk was not told that this disk has sectors of 4096 bytes, and sees only the protective MBR",
        ..ANY
    },
    // UrBackup.
    Row {
        image: "^urbackup-(0246|0257)_Image__dev_loop40$",
        path: "^(dir with space|etc)(/|$)",
        what: &["missing", "surplus"],
        reason: "UrBackup stored zeros for the last 12 KiB, where the entries of these directories were",
        ..ANY
    },
];

/// The rows with their expressions compiled: image, path, expected, actual.
static COMPILED: LazyLock<Vec<[Regex; 4]>> = LazyLock::new(|| {
    let compile = |text: &str| Regex::new(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    DIFFERENCES.iter().map(|row| [row.image, row.path, row.expected, row.actual].map(compile)).collect()
});

/// What was compared so far, and how often each row explained something.
pub struct Used {
    lines: AtomicUsize,
    rows: Vec<AtomicUsize>,
}

impl Default for Used {
    fn default() -> Used {
        Used { lines: AtomicUsize::new(0), rows: DIFFERENCES.iter().map(|_| AtomicUsize::new(0)).collect() }
    }
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let explained: usize = self.rows.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        let lines = self.lines.load(Ordering::Relaxed);
        write!(f, "{lines} lines expected, {explained} columns or lines differ as known.rs explains")
    }
}

impl Used {
    /// Compares an image's manifest with what Spelunk shows: what no row explains, for people.
    pub fn judge(
        &self,
        view: View,
        image: &str,
        expected: &[Line],
        actual: Result<Vec<Line>>,
    ) -> Option<String> {
        self.lines.fetch_add(expected.len(), Ordering::Relaxed);
        let differences = match actual {
            Ok(actual) => compare::manifests(expected, &actual),
            Err(error) => vec![Difference {
                path: String::new(),
                what: "refused",
                expected: String::new(),
                actual: error.to_string(),
            }],
        };
        let unexplained: Vec<String> = differences
            .iter()
            .filter(|difference| !self.explains(view, image, difference))
            .map(ToString::to_string)
            .collect();
        let shown = unexplained.iter().take(SHOWN_PER_IMAGE).cloned().collect::<Vec<_>>().join("\n  ");
        (!unexplained.is_empty()).then(|| format!("{image}: {} differences\n  {shown}", unexplained.len()))
    }

    fn explains(&self, view: View, image: &str, difference: &Difference) -> bool {
        let mut rows = DIFFERENCES.iter().zip(COMPILED.iter()).zip(&self.rows);
        let found = rows.find(|((row, [image_like, path, expected, actual]), _)| {
            row.view.is_none_or(|each| each == view)
                && row.what.contains(&difference.what)
                && image_like.is_match(image)
                && path.is_match(&difference.path)
                && expected.is_match(&difference.expected)
                && actual.is_match(&difference.actual)
        });
        found.map(|(_, count)| count.fetch_add(1, Ordering::Relaxed)).is_some()
    }

    /// Fails for rows that the whole suite had no use for. Rows for UrBackup's samples name them.
    pub fn assert_no_row_is_idle(&self, view: View, suite: Suite) {
        let idle = DIFFERENCES.iter().zip(&self.rows).filter(|(row, count)| {
            row.view.is_none_or(|each| each == view)
                && (row.image.starts_with("^urbackup") == (suite == Suite::UrBackup))
                && count.load(Ordering::Relaxed) == 0
        });
        let idle: Vec<String> =
            idle.map(|(row, _)| format!("{} {}: {}", row.image, row.path, row.reason)).collect();
        assert!(idle.is_empty(), "rows of known.rs that explain nothing any more:\n{}", idle.join("\n"));
    }
}
