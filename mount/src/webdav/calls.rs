//! Calls to a tree, which block, for callers that may not.

use super::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use spelunk_tree::{Error, Result};
use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Runs calls on threads that may block, so many at a time and no more.
#[derive(Clone)]
pub(super) struct Calls(Arc<Semaphore>);

/// What makes a body, piece by piece.
pub(super) trait Source: Send + 'static {
    /// The next piece, perhaps empty; `None` after the last. Blocks.
    fn next(&mut self) -> Result<Option<Bytes>>;
}

impl Calls {
    pub(super) fn new(max: usize) -> Calls {
        Calls(Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Runs one call.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.0.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Error::internal("the calls to trees have ended"))?;
        // The permit goes along: a request that is given up holds it until its thread is free again.
        let call = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call()
        });
        call.await.unwrap_or_else(|_| Err(Error::internal("a call to a tree panicked")))
    }

    /// A body of what `source` gives, each piece made while the one before is on its way. The first is waited for: an
    /// error there can still become a status. A later one ends the connection.
    pub(super) async fn body(&self, source: impl Source) -> Result<Body> {
        let mut pieces = Box::pin(self.pieces(source));
        let first = pieces.try_next().await?;
        let pieces = stream::iter(first.map(Ok)).chain(pieces);
        Ok(Body::stream(pieces.map_err(|error| {
            tracing::warn!(?error, "a WebDAV answer breaks off");
            io::Error::other(error)
        })))
    }

    fn pieces<S: Source>(&self, source: S) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let calls = self.clone();
        let begin = move |mut source: S| {
            let calls = calls.clone();
            let call = move || source.next().map(|piece| (piece, source));
            tokio::spawn(async move { calls.run(call).await })
        };
        stream::try_unfold((Some(source), None), move |(source, ahead)| {
            let ahead = ahead.or_else(|| source.map(&begin));
            let begin = begin.clone();
            async move {
                let Some(ahead) = ahead else { return Ok(None) };
                let made = ahead.await.unwrap_or_else(|_| Err(Error::internal("a task ended early")));
                let (piece, source) = made?;
                Ok(piece.map(|piece| (piece, (None, Some(begin(source))))))
            }
        })
    }
}
