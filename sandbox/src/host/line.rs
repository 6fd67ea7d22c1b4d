//! One channel as the host sees it: a question, an answer, a deadline.

use crate::channel::{Broken, Socket};
use crate::shared::HostWindow;
use crate::wire::{Malformed, Packet, Request, Status, Wire};
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Instant;

/// How a worker was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It is dead.
    Died,
    /// It did not answer in time.
    Hung,
    /// It said what no worker of ours says.
    Broke(Malformed),
    /// The machine refused.
    System(rustix::io::Errno),
}

/// An answer whose data, if any, is where the caller wanted it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) body: Vec<u8>,
    pub(crate) data_len: usize,
}

/// The host's end of a channel.
pub(crate) struct Line {
    pub(crate) socket: Socket,
    pub(crate) window: HostWindow,
}

impl Line {
    /// Asks and waits. Data goes to `data`; more than fits there is a breach.
    pub(crate) fn exchange(
        &self,
        request: &Request,
        image: Option<&File>,
        data: &mut [u8],
        deadline: Instant,
    ) -> Result<Answer, Lost> {
        let descriptors: Vec<_> = image.iter().map(|file| file.as_fd()).collect();
        self.socket.send_by(&request.to_bytes(), &descriptors, deadline).map_err(lost)?;
        let mut packet = [0; Packet::BYTES];
        let len = self.socket.receive(&mut packet, deadline).map_err(lost)?;
        let packet = Packet::from_bytes(&packet[..len]).map_err(Lost::Broke)?;
        let (body_len, data_len) = packet.lengths().map_err(Lost::Broke)?;
        let too_long = Lost::Broke(Malformed("a reply longer than asked for"));
        let data = data.get_mut(..data_len).ok_or(too_long)?;
        let mut body = vec![0; body_len];
        self.window.copy_out(&mut body, data).map_err(Lost::System)?;
        Ok(Answer { status: packet.status, body, data_len })
    }
}

pub(crate) fn lost(broken: Broken) -> Lost {
    match broken {
        Broken::Closed => Lost::Died,
        Broken::Late => Lost::Hung,
        Broken::Failed(rustix::io::Errno::MSGSIZE) => Lost::Broke(Malformed("a packet too long")),
        Broken::Failed(errno) => Lost::System(errno),
    }
}

#[cfg(test)]
mod tests;
