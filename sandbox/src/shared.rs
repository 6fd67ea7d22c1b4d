//! Windows: memory that host and worker share, one for each channel. The worker writes, the host reads.
//!
//! The host does not map the memory but reads it as a file: whatever the worker does to it, and also where the machine
//! has no memory left for its pages, the host gets an error and no signal. The worker can change it while the host
//! looks at it: the host copies out what it wants and only then looks. It is sealed, so its size stays.
#![allow(unsafe_code)]

use crate::wire::message::WINDOW_BYTES;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{Errno, preadv};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io::IoSliceMut;
use std::ptr::NonNull;

/// The memory of a window, to be sent to the worker.
pub(crate) fn create() -> Result<OwnedFd, Errno> {
    let memory = memfd_create("spelunk-window", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memory, u64::try_from(WINDOW_BYTES).unwrap_or(u64::MAX))?;
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memory)
}

/// A mapping of [`WINDOW_BYTES`] bytes, unmapped when dropped: the worker's.
struct Mapping(NonNull<u8>);

impl Mapping {
    fn new(memory: impl AsFd) -> Result<Mapping, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
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
pub(crate) struct HostWindow(OwnedFd);

impl HostWindow {
    pub(crate) fn new(memory: impl AsFd) -> Result<HostWindow, Errno> {
        memory.as_fd().try_clone_to_owned().map(HostWindow).map_err(|_| Errno::MFILE)
    }

    /// Copies the bytes at the window's beginning out, to `body` and what follows to `data`.
    ///
    /// # Errors
    /// `NXIO` where they leave the window; what the system says.
    pub(crate) fn copy_out(&self, body: &mut [u8], data: &mut [u8]) -> Result<(), Errno> {
        let len = body.len().checked_add(data.len()).filter(|len| *len <= WINDOW_BYTES).ok_or(Errno::NXIO)?;
        // What is there may change meanwhile; it is validated after the copy.
        let read = preadv(&self.0, &mut [IoSliceMut::new(body), IoSliceMut::new(data)], 0)?;
        if read == len { Ok(()) } else { Err(Errno::IO) }
    }
}

/// The worker's view.
pub(crate) struct WorkerWindow(Mapping);

impl WorkerWindow {
    pub(crate) fn new(memory: impl AsFd) -> Result<WorkerWindow, Errno> {
        Mapping::new(memory).map(WorkerWindow)
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is valid for this length for as long as `self`, and this is the only view in
        // this process. The host never writes, and reads only after it was told by a packet.
        unsafe { std::slice::from_raw_parts_mut(self.0.0.as_ptr(), WINDOW_BYTES) }
    }
}
