//! Libraries to be served.

use crate::fixture::{self, Image};
use spelunk_testkit::peer::Directory;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// When backups were made: 2026-01-02 03:04:05 UTC, and days later.
pub const FIRST: u64 = fixture::MODIFIED;
pub const DAY: u64 = 86_400;

/// The first backup's moment.
pub const MOMENT: &str = "2026-01-02_0304";

/// A library of one client, `pc`, with one backup of `C.img`: the place of what is in the image.
pub const C: &str = "pc/2026-01-02_0304/C.img";

/// In a library of one file backup of `pc`: the place of its share.
pub const SHARE: &str = "pc/2026-01-02_0304/share";

/// The mark of a file backup that UrBackup finished.
const FINISHED: &str = ".sync_f3a50226-f49a-4195-afef-c75b21781ae1";

/// A library of one file backup, of what `fill` puts into its share.
pub fn of_files(fill: impl FnOnce(&Path)) -> Directory {
    let library = Directory::new().expect("a directory");
    let backup = library.path().join("pc/260102-0304");
    fs::create_dir_all(backup.join("share")).expect("a share");
    fs::create_dir_all(backup.join(".hashes/share")).expect("metadata");
    fs::write(backup.join(".hashes").join(FINISHED), "").expect("a mark");
    fill(&backup.join("share"));
    library
}

/// A library of one backup.
pub fn of(image: &Image) -> Directory {
    let library = Directory::new().expect("a directory");
    add(&library, "pc/C.img", image.path().as_ref(), FIRST);
    library
}

/// A library of two clients: what `alice` has, twice, `bob` may not see, who has something else.
pub fn of_two() -> Directory {
    let library = Directory::new().expect("a directory");
    let image = fixture::plain();
    add(&library, "alice/C.img", image.path().as_ref(), FIRST);
    add(&library, "alice/monday/C.img", image.path().as_ref(), FIRST + DAY);
    add(&library, "bob/D.img", fixture::many_by_links().path().as_ref(), FIRST);
    library
}

/// Copies an image into a library; when it was changed is when the backup was made.
pub fn add(library: &Directory, path: &str, image: &Path, modified: u64) -> PathBuf {
    let path = library.path().join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::copy(image, &path).expect("an image");
    let file = File::options().write(true).open(&path).expect("the image");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(modified)).expect("a time");
    path
}
