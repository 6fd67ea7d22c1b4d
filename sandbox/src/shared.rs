//! Windows: memory that host and worker share, one for each channel. The worker writes, the host reads.
//!
//! The memory is sealed against shrinking, so neither side can make the other fault on it. The worker can
//! change it while the host looks at it: the host copies out what it wants and only then looks.
#![allow(unsafe_code)]

use crate::wire::message::WINDOW_BYTES;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ptr::NonNull;

/// The memory of a window, to be sent to the worker.
pub(crate) fn create() -> Result<OwnedFd, Errno> {
    let memory = memfd_create("spelunk-window", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memory, u64::try_from(WINDOW_BYTES).unwrap_or(u64::MAX))?;
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memory)
}

/// A mapping of [`WINDOW_BYTES`] bytes, unmapped when dropped.
struct Mapping(NonNull<u8>);

impl Mapping {
    fn new(memory: impl AsFd, protection: ProtFlags) -> Result<Mapping, Errno> {
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
        let address = unsafe {
            mmap(std::ptr::null_mut(), WINDOW_BYTES, protection, MapFlags::SHARED, memory.as_fd(), 0)?
        };
        NonNull::new(address.cast()).map(Mapping).ok_or(Errno::NOMEM)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, has this length, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), WINDOW_BYTES) };
    }
}

// SAFETY: a mapping belongs to the whole process; access goes through the windows below.
unsafe impl Send for Mapping {}

/// The host's view: read only, and only by copying.
pub(crate) struct HostWindow(Mapping);

impl HostWindow {
    pub(crate) fn new(memory: impl AsFd) -> Result<HostWindow, Errno> {
        Mapping::new(memory, ProtFlags::READ).map(HostWindow)
    }

    /// Copies the bytes from `start` on out of the window; `None` where they leave it.
    pub(crate) fn copy_out(&self, start: usize, buffer: &mut [u8]) -> Option<()> {
        if start.checked_add(buffer.len())? > WINDOW_BYTES {
            return None;
        }
        // SAFETY: the source lies within the mapping, as just checked, and cannot overlap the buffer. No
        // reference to the source is made: the worker may be writing there, and then what is copied is
        // whatever it is; it is validated after the copy.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.0.as_ptr().add(start), buffer.as_mut_ptr(), buffer.len());
        }
        Some(())
    }
}

/// The worker's view.
pub(crate) struct WorkerWindow(Mapping);

impl WorkerWindow {
    pub(crate) fn new(memory: impl AsFd) -> Result<WorkerWindow, Errno> {
        Mapping::new(memory, ProtFlags::READ | ProtFlags::WRITE).map(WorkerWindow)
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is valid for this length for as long as `self`, and this is the only view in
        // this process. The host never writes, and reads only after it was told by a packet.
        unsafe { std::slice::from_raw_parts_mut(self.0.0.as_ptr(), WINDOW_BYTES) }
    }
}
