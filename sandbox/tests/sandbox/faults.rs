//! Workers that die or hang.

use crate::images;
use crate::processes::{eventually, exists, own_workers, status};
use crate::trees::{first_tree, list_all, name, open, read_all};
use rustix::process::{Pid, Signal, kill_process};
use spelunk_sandbox::{Disk, OpenOptions};
use spelunk_tree::{ErrorKind, Listed};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().expect("a process id")).expect("a process id");
    kill_process(pid, signal).expect("a signal is sent");
}

pub fn killed() {
    let Some(image) = images::small() else { return };
    let disk = open(&image.path);
    let tree = first_tree(&disk);
    let dir = tree.lookup(tree.root(), &name("d")).expect("the directory").node;
    let entries = list_all(&*tree, dir, 10).expect("a listing");

    let mut failures = 0;
    for (index, listed) in entries.iter().enumerate() {
        if index % 50 == 7 {
            signal(disk.worker_pid().expect("a worker"), Signal::KILL);
        }
        let Listed::Entry { entry, .. } = listed else { panic!("{listed:?}") };
        failures += usize::from(tree.attr(entry.node).is_err());
        failures += usize::from(read_all(&*tree, entry.node, None, 4096).is_err());
    }

    assert_eq!(entries.len(), 200);
    assert_eq!(failures, 0, "a request that did not kill its worker is asked again");
    assert_eq!(disk.stats().restarts, 4);
    assert_eq!(list_all(&*tree, dir, 1000), Ok(entries));
}

pub fn hanging() {
    let Some(image) = images::small() else { return };
    let options = OpenOptions { deadline: Duration::from_millis(300), ..OpenOptions::default() };
    let disk = Disk::open(&image.path, &options).expect("the image opens");
    let tree = first_tree(&disk);
    let worker = disk.worker_pid().expect("a worker");
    signal(worker, Signal::STOP);
    assert!(eventually(|| status(worker, "State").is_some_and(|state| state.starts_with('T'))));

    let begin = Instant::now();
    let answer = tree.lookup(tree.root(), &name("hello"));
    let took = begin.elapsed();

    assert_eq!(answer.map_err(|error| error.kind()), Err(ErrorKind::WorkerLost));
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
    assert!(tree.lookup(tree.root(), &name("hello")).is_ok(), "another worker answers");
    assert_ne!(disk.worker_pid(), Some(worker));
    assert!(eventually(|| !exists(worker)));
}

pub fn many_deaths() {
    let Some(image) = images::small() else { return };
    let disk = open(&image.path);
    let tree = first_tree(&disk);
    let done = AtomicBool::new(false);

    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut failures = 0;
                    while !done.load(Ordering::Relaxed) {
                        failures += usize::from(tree.lookup(tree.root(), &name("hello")).is_err());
                    }
                    failures
                })
            })
            .collect();
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(50));
            if let Some(worker) = disk.worker_pid() {
                signal(worker, Signal::KILL);
            }
        }
        done.store(true, Ordering::Relaxed);
        let failures: usize = readers.into_iter().map(|reader| reader.join().expect("a reader")).sum();
        assert!(failures <= 6, "{failures} failures by six deaths");
    });

    assert!(tree.lookup(tree.root(), &name("hello")).is_ok());
    drop((disk, tree));
    assert_eq!(own_workers(), []);
}

pub fn image_changed() {
    let Some(image) = images::small() else { return };
    let disk = open(&image.path);
    let tree = first_tree(&disk);
    std::fs::write(&image.path, vec![0; 1 << 20]).expect("the image is overwritten");
    signal(disk.worker_pid().expect("a worker"), Signal::KILL);

    let answer = tree.lookup(tree.root(), &name("hello"));

    assert_eq!(answer.map_err(|error| error.kind()), Err(ErrorKind::Storage));
}
