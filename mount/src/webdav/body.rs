//! Bodies of answers.

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The body of an answer. An error in it means that the answer cannot be finished: the connection must end, so
/// that nobody takes a part for the whole.
#[derive(Default)]
pub struct Body {
    pieces: Option<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>>,
    /// Bytes to come, where that is known.
    left: Option<u64>,
    report: Report,
}

/// Tells how many bytes went out, once they did or nobody wants more of them.
#[derive(Default)]
struct Report {
    sent: u64,
    ended: Option<Box<dyn FnOnce(u64) + Send>>,
}

impl Body {
    pub(super) fn empty() -> Body {
        Body { left: Some(0), ..Body::default() }
    }

    pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        let len = u64::try_from(bytes.len()).ok();
        let piece = futures_util::stream::iter([Ok(bytes)]);
        Body { left: len, ..Body::stream(piece) }
    }

    pub(super) fn stream(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
        Body { pieces: Some(Box::pin(pieces)), ..Body::default() }
    }

    /// The same body of `len` bytes.
    pub(super) fn sized(self, len: u64) -> Body {
        Body { left: Some(len), ..self }
    }

    /// The same body, which tells when it has ended how many bytes went out.
    pub(super) fn on_end(self, ended: impl FnOnce(u64) + Send + 'static) -> Body {
        Body { report: Report { sent: 0, ended: Some(Box::new(ended)) }, ..self }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            let Some(pieces) = self.pieces.as_mut() else { return Poll::Ready(None) };
            let piece = match ready!(pieces.as_mut().poll_next(context)) {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => piece,
                Some(Err(error)) => {
                    self.pieces = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.pieces = None;
                    return Poll::Ready(None);
                }
            };
            let len = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.report.sent = self.report.sent.saturating_add(len);
            self.left = self.left.map(|left| left.saturating_sub(len));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0) || (self.pieces.is_none() && self.left.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended(self.sent);
        }
    }
}
