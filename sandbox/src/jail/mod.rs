//! The jail on Linux: what takes a process's rights away, layer by layer.
//!
//! Every layer stands for itself: what the machine does not allow (namespaces in a plain container, Landlock
//! on an old kernel) is reported and left out, and the others still hold. Only seccomp must be had: without
//! it no image is parsed. The steps, in order, are [`Jail::enter`] and [`Jail::lock`].
//!
//! Two processes come of it. The outer one, the **supervisor**, sees neither image nor memory: it waits for
//! the death of the host or of the inner one, and takes the inner one along. The inner one is the
//! **worker**. (A parent-death signal from host to worker would not do: it fires when the *thread* that
//! started the worker ends.)

pub(crate) mod attempts;
mod descriptors;
mod faults;
mod identity;
mod landlock;
mod limits;
mod namespaces;
mod seccomp;
mod supervisor;

pub(crate) use descriptors::control;
pub use descriptors::{close_inherited, raise_descriptor_limit};

use crate::LayerReport;
use crate::channel::Socket;
use spelunk_tree::{Error, ErrorKind, Result};

/// A process on its way into the jail.
pub(crate) struct Jail {
    layers: Vec<LayerReport>,
}

impl Jail {
    /// All layers but the last. The process must have one thread and have `control`, the host's socket, open;
    /// this returns in a child of it, the process itself supervises the child and does not return.
    ///
    /// # Errors
    /// `Denied` when there can be no child.
    pub(crate) fn enter(control: Socket) -> Result<Jail> {
        let mut jail = Jail { layers: Vec::new() };
        jail.report("no_new_privs", identity::no_new_privs());

        // A privileged process can have namespaces of its own. Then it gives up its privileges; and whoever
        // has none may still get a user namespace, and in it the others.
        let mut namespaces = namespaces::Namespaces::default();
        namespaces.unshare_missing();
        jail.report("user", identity::become_nobody());
        namespaces.unshare_user();
        namespaces.unshare_missing();
        jail.layers.extend(namespaces.report());
        jail.report("capabilities", identity::drop_capabilities());

        // The child is the first process in the new process namespace.
        if let Some(worker) = supervisor::fork().map_err(|errno| denied("forking the worker", errno))? {
            supervisor::supervise(&control, worker);
        }
        jail.report("death signal", supervisor::die_with_parent());
        drop(control);
        jail.report("descriptors", descriptors::close_standard());
        jail.report("landlock", landlock::restrict());
        jail.layers.extend(limits::set());
        Ok(jail)
    }

    /// The last layer, for all threads of the process. They must have got past their start: what a thread
    /// does there is no longer allowed.
    ///
    /// # Errors
    /// `Denied` when seccomp cannot be had.
    pub(crate) fn lock(mut self) -> Result<Vec<LayerReport>> {
        self.report("no processes", limits::no_processes());
        faults::kill_at_once();
        let calls = seccomp::lock(seccomp::WORKER)?;
        self.report("seccomp", Ok(format!("{calls} system calls allowed, any other kills")));
        Ok(self.layers)
    }

    fn report(&mut self, name: &str, outcome: Layer) {
        self.layers.push(layer_report(name, outcome));
    }
}

/// What came of a layer: what it gives, or why there is none of it.
type Layer = std::result::Result<String, String>;

fn layer_report(name: &str, outcome: Layer) -> LayerReport {
    let in_force = outcome.is_ok();
    let detail = outcome.unwrap_or_else(|reason| reason);
    LayerReport { name: name.into(), in_force, detail }
}

fn denied(doing: &'static str, cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Denied, doing).because(Error::new(ErrorKind::Denied, cause.to_string()))
}

/// The system calls that a worker may make, and why.
pub(crate) fn allowed_calls() -> impl Iterator<Item = (&'static str, &'static str)> {
    seccomp::WORKER.iter().map(|rule| (rule.name, rule.why))
}

/// Ends the process at once, running nothing.
pub(crate) fn exit(code: u8) -> ! {
    descriptors::exit(code)
}
