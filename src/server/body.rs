//! Bodies that come out of backups: read as the client takes them, never held as a whole.

use axum::body::{Body, Bytes};
use futures_util::{StreamExt, stream};
use spelunk_tree::{Error, Name, NodeId, Tree};
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

/// Bytes that are read at once. A download holds two such pieces.
const PIECE_BYTES: u64 = 256 << 10;

/// Pieces of an archive that wait for the client.
const PIECES_WAITING: usize = 4;

/// How long a client may take for a piece of an archive, before its threads are given to others.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why a body ended before its end.
#[derive(Debug)]
pub enum Failure {
    /// Nobody takes it any more.
    ClientGone,
    /// It cannot be read on.
    Unreadable(String),
}

/// What is told when a body ends, however it does.
pub trait Ending: Send + 'static {
    /// `sent` bytes were handed out; `failure` is why there are no more, if that was not the end.
    fn ended(&mut self, sent: u64, failure: Option<&Failure>);
}

/// What a client has been given of a body; tells when it ends.
struct Tally<E: Ending> {
    ending: E,
    sent: u64,
    expected: Option<u64>,
    failure: Option<Failure>,
}

impl<E: Ending> Drop for Tally<E> {
    fn drop(&mut self) {
        let is_short = self.expected.is_some_and(|expected| self.sent < expected);
        if is_short && self.failure.is_none() {
            self.failure = Some(Failure::ClientGone);
        }
        self.ending.ended(self.sent, self.failure.as_ref());
    }
}

/// A stretch of a file.
#[derive(Clone)]
pub struct Stretch {
    /// The tree.
    pub tree: Arc<dyn Tree>,
    /// The file.
    pub node: NodeId,
    /// The stream, if not the main one.
    pub stream: Option<Name>,
    /// The bytes.
    pub range: Range<u64>,
}

/// A file's body. The next piece is read while the client takes the last one. When one cannot be read the
/// connection is broken off: a client must not take what it has for the whole.
///
/// # Errors
/// When the first piece cannot be read: that can still be told.
pub async fn of_file(mut stretch: Stretch, ending: impl Ending) -> Result<Body, Error> {
    let mut tally =
        Tally { ending, sent: 0, expected: Some(stretch.range.end - stretch.range.start), failure: None };
    let reading = read_ahead(stretch.clone());
    let first = tally.piece(&mut stretch, reading).await?;
    let next = read_on(&stretch);
    let rest = stream::unfold((next, stretch, tally), |(next, mut stretch, mut tally)| async {
        match tally.piece(&mut stretch, next?).await {
            Ok(piece) => Some((Ok(piece), (read_on(&stretch), stretch, tally))),
            Err(error) => Some((Err(io::Error::other(error.to_string())), (None, stretch, tally))),
        }
    });
    Ok(Body::from_stream(stream::once(async { Ok(first) }).chain(rest)))
}

impl<E: Ending> Tally<E> {
    /// The piece that is being read, which the rest of the stretch follows.
    async fn piece(
        &mut self,
        stretch: &mut Stretch,
        reading: JoinHandle<Result<Bytes, Error>>,
    ) -> Result<Bytes, Error> {
        let read = reading.await.unwrap_or_else(|_| Err(Error::internal("a read ended in a panic")));
        match &read {
            Ok(piece) => {
                stretch.range.start += piece.len() as u64;
                self.sent += piece.len() as u64;
            }
            Err(error) => self.failure = Some(Failure::Unreadable(error.to_string())),
        }
        read
    }
}

fn read_on(rest: &Stretch) -> Option<JoinHandle<Result<Bytes, Error>>> {
    (!rest.range.is_empty()).then(|| read_ahead(rest.clone()))
}

fn read_ahead(stretch: Stretch) -> JoinHandle<Result<Bytes, Error>> {
    tokio::task::spawn_blocking(move || {
        let Stretch { tree, node, stream, range } = stretch;
        let wanted = usize::try_from((range.end - range.start).min(PIECE_BYTES)).unwrap_or(0);
        let mut piece = vec![0; wanted];
        let count = tree.read(node, stream.as_ref(), range.start, &mut piece)?;
        if count == 0 && wanted > 0 {
            return Err(Error::corrupt("a file that ends before its size"));
        }
        piece.truncate(count);
        Ok(piece.into())
    })
}

/// A body that `write` writes, on a thread of its own. What it fails with is why the tree cannot be packed; that nobody
/// takes what it writes is seen here.
pub fn of_writer(
    mut ending: impl Ending,
    write: impl FnOnce(&mut dyn Write) -> Result<(), String> + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    let work = move || {
        let runtime = tokio::runtime::Handle::current();
        let mut out = Pieces { sender, piece: Vec::new(), sent: 0, is_taken: true, runtime };
        let written = write(&mut out);
        let failure = match written {
            Ok(()) if out.flush().is_ok() => None,
            _ if !out.is_taken => Some(Failure::ClientGone),
            written => Some(Failure::Unreadable(written.err().unwrap_or_default())),
        };
        if let Some(Failure::Unreadable(why)) = &failure {
            out.fail(why);
        }
        ending.ended(out.sent, failure.as_ref());
    };
    // Ends with the client, whom it finds gone.
    drop(tokio::task::spawn_blocking(work));
    let next = |mut receiver: Receiver<io::Result<Bytes>>| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    };
    Body::from_stream(stream::unfold(receiver, next))
}

/// Cuts what is written into pieces, and waits while too many are under way.
struct Pieces {
    sender: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    sent: u64,
    is_taken: bool,
    runtime: tokio::runtime::Handle,
}

impl Pieces {
    fn send(&mut self, piece: io::Result<Bytes>) -> io::Result<()> {
        let sending = self.sender.send_timeout(piece, PATIENCE);
        self.is_taken &= self.runtime.block_on(sending).is_ok();
        if self.is_taken { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Breaks the connection off.
    fn fail(&mut self, why: &str) {
        // Nobody is there who would have to be told.
        _ = self.send(Err(io::Error::other(why.to_owned())));
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX) - self.piece.len();
        let taken = bytes.len().min(room);
        self.piece.extend_from_slice(&bytes[..taken]);
        if taken == room {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        let count = piece.len() as u64;
        self.send(Ok(piece.into()))?;
        self.sent += count;
        Ok(())
    }
}
