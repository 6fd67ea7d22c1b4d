//! What is no image.

use crate::images::{pattern, temporary};
use crate::processes::own_workers;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use spelunk_sandbox::{Disk, OpenOptions};
use spelunk_tree::{Error, ErrorKind};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Opens; a disk without any volume that could be opened counts as an error.
fn error_of(path: &Path) -> Error {
    match Disk::open(path, &OpenOptions::default()) {
        Err(error) => error,
        Ok(disk) => {
            let mut volumes = disk.info().volumes.iter();
            volumes.find_map(|volume| volume.filesystem.clone().err()).expect("an error")
        }
    }
}

pub fn refused() {
    let directory = temporary();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("empty"), b"").expect("a file");
    std::fs::write(at("noise"), pattern(1, 1 << 20)).expect("a file");
    std::fs::write(at("truncated.vhd"), &b"conectix"[..]).expect("a file");
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
    let _listener = UnixListener::bind(at("socket")).expect("a socket");

    assert_eq!(error_of(&at("missing")).kind(), ErrorKind::NotFound);
    assert_eq!(error_of(directory.path()).kind(), ErrorKind::IsADirectory);
    assert_eq!(error_of(&at("pipe")).kind(), ErrorKind::Unsupported);
    assert_eq!(error_of(Path::new("/dev/zero")).kind(), ErrorKind::Unsupported);
    assert_ne!(error_of(&at("socket")).kind(), ErrorKind::WorkerLost);
    for name in ["empty", "noise", "truncated.vhd"] {
        let error = error_of(&at(name));
        assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Corrupt), "{name}: {error:?}");
    }

    assert_eq!(own_workers(), []);
}
