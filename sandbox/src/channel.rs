//! One channel between host and worker: a socket that keeps packets apart and carries descriptors, with a
//! window of shared memory for what is long.

use crate::wire::message::REQUEST_BYTES_MAX;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Descriptors that one packet may carry: a socket and a window for each channel.
pub(crate) const DESCRIPTORS_MAX: usize = 16;

/// Why nothing came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The other side is gone.
    Closed,
    /// The deadline has passed.
    Late,
    /// The system failed, or the packet is too long.
    Failed(Errno),
}

/// One end of a socket pair.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Two connected ends, neither inherited by programs that are executed.
    pub(crate) fn pair() -> Result<(Socket, Socket), Errno> {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Socket(one), Socket(other)))
    }

    /// Sends a packet, however long that takes: for the worker, whose host is trusted.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Broken> {
        self.send_with(bytes, descriptors, SendFlags::NOSIGNAL)
    }

    /// Sends a packet to the worker, which may not be reading.
    pub(crate) fn send_by(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<(), Broken> {
        loop {
            match self.send_with(bytes, descriptors, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Err(Broken::Failed(Errno::AGAIN)) => self.wait(PollFlags::OUT, Some(deadline))?,
                other => return other,
            }
        }
    }

    fn send_with(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> Result<(), Broken> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Broken::Failed(Errno::TOOBIG));
        }
        loop {
            match sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(broken(errno)),
            }
        }
    }

    /// Waits for a packet of at most `buffer` bytes and returns its length. Descriptors that come along are
    /// closed by the kernel.
    pub(crate) fn receive(&self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Broken> {
        self.wait(PollFlags::IN, Some(deadline))?;
        self.receive_with(buffer, &mut RecvAncillaryBuffer::default())
    }

    /// Waits, without end, for a packet and the descriptors that come along.
    pub(crate) fn receive_request(&self, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Broken> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let len = self.receive_with(buffer, &mut control)?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        Ok((len, descriptors))
    }

    fn receive_with(
        &self,
        buffer: &mut [u8],
        control: &mut RecvAncillaryBuffer<'_>,
    ) -> Result<usize, Broken> {
        loop {
            let mut parts = [IoSliceMut::new(buffer)];
            match recvmsg(&self.0, &mut parts, control, RecvFlags::CMSG_CLOEXEC) {
                Ok(got) if got.flags.contains(ReturnFlags::TRUNC) => {
                    return Err(Broken::Failed(Errno::MSGSIZE));
                }
                Ok(got) if got.bytes == 0 => return Err(Broken::Closed),
                Ok(got) => return Ok(got.bytes),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(broken(errno)),
            }
        }
    }

    /// Waits until the other side has closed its end; `false` when it has not by `deadline`.
    pub(crate) fn wait_closed(&self, deadline: Instant) -> bool {
        self.wait(PollFlags::RDHUP, Some(deadline)) != Err(Broken::Late)
    }

    fn wait(&self, events: PollFlags, deadline: Option<Instant>) -> Result<(), Broken> {
        loop {
            let left = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
            match poll(&mut [PollFd::new(&self.0, events)], left.as_ref()) {
                Ok(0) => return Err(Broken::Late),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Broken::Failed(errno)),
            }
        }
    }
}

fn broken(errno: Errno) -> Broken {
    match errno {
        Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Broken::Closed,
        other => Broken::Failed(other),
    }
}

fn timespec(left: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Socket {
    fn from(descriptor: OwnedFd) -> Socket {
        Socket(descriptor)
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        socket.0
    }
}

/// A buffer for one request.
pub(crate) fn request_buffer() -> Vec<u8> {
    vec![0; REQUEST_BYTES_MAX]
}
