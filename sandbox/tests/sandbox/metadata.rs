//! The worker without a disk.

use rustix::process::{Pid, Signal, kill_process};
use spelunk_sandbox::{Detail, MetadataWorker, OpenOptions};
use spelunk_tree::{ErrorKind, Time};

/// The general part of a file's metadata, with a modification time of one second.
fn good() -> Vec<u8> {
    let body = [&0xA4F0_4E41u32.to_le_bytes()[..], &[0], &[0; 12], &[1, 0, 2, 0]].concat();
    let len = u32::try_from(body.len()).expect("few bytes");
    [&len.to_le_bytes()[..], &body].concat()
}

/// Damage of one file does not concern the others, and neither does a worker that is killed between two requests.
pub fn batches() {
    let worker = MetadataWorker::new(&OpenOptions::default());
    let mut tails = vec![good(); 1000];
    tails[500] = vec![0xFF; 100];

    for _ in 0..2 {
        let parsed = worker.parse(&tails, Detail::Listing);
        assert_eq!(parsed.len(), tails.len());
        for (index, parsed) in parsed.into_iter().enumerate() {
            match parsed {
                Ok(metadata) => assert_eq!(metadata.attr.modified, Some(Time::from_seconds(1))),
                Err(error) => assert_eq!((index, error.kind()), (500, ErrorKind::Corrupt)),
            }
        }
        let pid = worker.worker_pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.expect("a worker"), Signal::KILL).expect("it is killed");
    }
    assert!(worker.parse_one(&good(), Detail::Full).is_ok());
}
