//! Resource limits: what a worker may use up.

use super::{Layer, layer_report};
use crate::LayerReport;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spelunk_tree::limits::CHAIN_MAX;

/// Address space. A worker on an ordinary image uses under 32 MiB of memory; the program itself, thread
/// stacks, decoded blocks and tables of large filesystems must fit as well.
const ADDRESS_SPACE_BYTES_MAX: u64 = 1 << 30;

/// Descriptors: the longest chain, the channels, and what is underway.
const DESCRIPTORS_MAX: u64 = CHAIN_MAX as u64 + 32;

/// The limits that are set once the descriptors of the channels are there.
pub(super) fn set() -> Vec<LayerReport> {
    vec![
        layer_report("memory limit", limit(Resource::As, ADDRESS_SPACE_BYTES_MAX, "bytes of address space")),
        layer_report("descriptor limit", limit(Resource::Nofile, DESCRIPTORS_MAX, "descriptors")),
        layer_report("no core dumps", limit(Resource::Core, 0, "bytes")),
        layer_report("no file growth", limit(Resource::Fsize, 0, "bytes")),
    ]
}

/// Forbids new processes and threads, once all threads are there.
pub(super) fn no_processes() -> Layer {
    limit(Resource::Nproc, 0, "more processes or threads")
}

fn limit(resource: Resource, wanted: u64, unit: &str) -> Layer {
    // What stands lower already stays there: it cannot be raised.
    let most = getrlimit(resource).maximum.map_or(wanted, |maximum| maximum.min(wanted));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        .map_err(|errno| errno.to_string())?;
    Ok(format!("{most} {unit}"))
}
