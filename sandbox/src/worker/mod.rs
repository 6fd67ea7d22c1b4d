//! The worker: enters the jail, then answers requests until the host is gone.

mod answer;
mod block_cache;
mod image_file;
mod metadata;
mod parents;

use crate::LayerReport;
use crate::channel::{Broken, DESCRIPTORS_MAX, Socket, request_buffer};
use crate::jail::{self, Jail};
use crate::shared::WorkerWindow;
use crate::wire::message::WINDOW_BYTES;
use crate::wire::{BUILD_ID, Hello, Packet, Request, Start, Status, Wire};
use answer::{Body, Server};
use rustix::fd::OwnedFd;
use spelunk_tree::{Error, ErrorKind, Result};
use std::process::ExitCode;
use std::sync::{Arc, Barrier};

/// The hidden subcommand that makes the program a worker.
pub const WORKER_COMMAND: &str = "__worker";

/// Bytes of a worker thread's stack: the parsers do not recurse deeply.
const STACK_BYTES: usize = 1 << 20;

/// The worker's main function: what the program runs for its hidden subcommand [`WORKER_COMMAND`], first
/// thing, before it has opened anything or started a thread. It does not return before the host closes
/// its end.
pub fn worker_main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A channel's two descriptors.
pub(crate) struct Ends {
    pub(crate) socket: Socket,
    pub(crate) window: OwnedFd,
}

/// Takes what the host gives: its socket and the channels.
pub(crate) fn inherit() -> Result<(Socket, Vec<Ends>)> {
    let failed = |_| Error::internal("not started by Spelunk");
    let control = jail::control().map_err(|cause| Error::from_io("taking over", &cause))?;
    let mut buffer = request_buffer();
    let (len, descriptors) = control.receive_request(&mut buffer).map_err(failed)?;
    let start = Start::from_bytes(&buffer[..len]).map_err(|_| Error::internal("not started by Spelunk"))?;
    let mut descriptors = descriptors.into_iter();
    let mut channels = Vec::new();
    while let (Some(socket), Some(window)) = (descriptors.next(), descriptors.next()) {
        channels.push(Ends { socket: Socket::from(socket), window });
    }
    if channels.is_empty() || channels.len() != usize::from(start.channels) {
        return Err(Error::internal("started with other channels than announced"));
    }
    Ok((control, channels))
}

const _: () = assert!(crate::host::CHANNELS_MAX * 2 <= DESCRIPTORS_MAX);

fn start() -> Result<()> {
    answer::keep_panics_quiet();
    let (control, channels) = inherit()?;
    let mut channels = channels.into_iter().map(Channel::new).collect::<Result<Vec<_>>>()?;
    let first = channels.pop().ok_or_else(|| Error::internal("started without channels"))?;
    // From here on this is the jailed child.
    match enter(control, channels) {
        Ok((layers, server)) => {
            greet(&first.socket, Ok(layers))?;
            first.serve(&server);
        }
        Err(error) => greet(&first.socket, Err(error)),
    }
}

/// Goes to jail, with a thread for each of `channels`.
fn enter(control: Socket, channels: Vec<Channel>) -> Result<(Vec<LayerReport>, Arc<Server>)> {
    let jail = Jail::enter(control)?;
    let server = Arc::new(Server::default());
    // A thread's start makes calls that are forbidden afterwards: all must have got past it.
    let started = Arc::new(Barrier::new(channels.len().saturating_add(1)));
    for channel in channels {
        let (server, started) = (server.clone(), started.clone());
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let run = move || {
            started.wait();
            channel.serve(&server);
        };
        thread.spawn(run).map_err(|cause| Error::from_io("starting a thread of the worker", &cause))?;
    }
    started.wait();
    Ok((jail.lock()?, server))
}

pub(crate) fn greet(socket: &Socket, jail: Result<Vec<LayerReport>>) -> Result<()> {
    let hello = Hello { build_id: BUILD_ID.into(), jail };
    socket.send(&hello.to_bytes(), &[]).map_err(|_| Error::internal("the host is gone"))
}

/// A channel as the worker sees it.
pub(crate) struct Channel {
    socket: Socket,
    window: WorkerWindow,
}

/// A request and the descriptor that came with it.
pub(crate) struct Received {
    pub(crate) request: Request,
    pub(crate) descriptor: Option<OwnedFd>,
}

impl Channel {
    fn new(ends: Ends) -> Result<Channel> {
        let window = WorkerWindow::new(&ends.window)
            .map_err(|errno| Error::from_io("mapping a window", &std::io::Error::from(errno)))?;
        Ok(Channel { socket: ends.socket, window })
    }

    /// Answers until the host closes the channel; then the process ends, whatever its other threads do.
    fn serve(mut self, server: &Server) -> ! {
        while let Ok(received) = self.receive() {
            if server.answer(received, &mut self).is_err() {
                break;
            }
        }
        jail::exit(0)
    }

    fn receive(&self) -> std::result::Result<Received, Broken> {
        let mut buffer = [0; crate::wire::message::REQUEST_BYTES_MAX];
        let (len, mut descriptors) = self.socket.receive_request(&mut buffer)?;
        // The host is trusted, and the same program: this only fails when there is a defect.
        let request = Request::from_bytes(&buffer[..len]).map_err(|_| Broken::Closed)?;
        Ok(Received { request, descriptor: descriptors.pop() })
    }

    fn reply(&mut self, status: Status, body: &[u8], data_len: usize) -> std::result::Result<(), Broken> {
        let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let packet = Packet { status, body_len: length(body.len()), data_len: length(data_len) };
        self.window.bytes()[..body.len()].copy_from_slice(body);
        self.socket.send(&packet.to_bytes(), &[])
    }

    /// Sends what a request came to.
    fn finish(&mut self, outcome: Result<Body>) -> std::result::Result<(), Broken> {
        match outcome {
            Ok(body) if body.bytes.len().saturating_add(body.data_len) <= WINDOW_BYTES => {
                self.reply(Status::Done, &body.bytes, body.data_len)
            }
            Ok(body) => {
                let message = format!("an answer of {} bytes", body.bytes.len());
                self.reply(Status::Failed, &Error::new(ErrorKind::Limit, message).to_bytes(), 0)
            }
            Err(error) => self.reply(Status::Failed, &error.to_bytes(), 0),
        }
    }
}
