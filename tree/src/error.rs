//! The one error of all layers.
//!
//! Policy: a [`ErrorKind`] is for decisions (errno, HTTP status, exit code) and stays apart to the
//! user; the message says what was being done, short, without repeating its cause; `place` says
//! where (an object of the guest, a byte offset); the cause is the error of the layer below. The
//! printer walks the chain with [`Error::chain`]. Hints are added only by the program.

use std::borrow::Cow;
use std::fmt;

/// What went wrong, as far as a caller may want to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no such entry, stream or image.
    NotFound,
    /// A directory operation on something else.
    NotADirectory,
    /// A file operation on a directory.
    IsADirectory,
    /// A link operation on something that is not a symbolic link.
    NotALink,
    /// The bytes contradict their format: damaged, or forged.
    Corrupt,
    /// Well-formed, but of a kind that Spelunk does not read (yet).
    Unsupported,
    /// The storage below failed to deliver bytes.
    Storage,
    /// A named limit was reached (see [`crate::limits`]).
    Limit,
    /// The jailed worker died, hung or was unreachable during the request.
    WorkerLost,
    /// The operating system or a policy refused.
    Denied,
    /// A defect in Spelunk.
    Internal,
}

impl ErrorKind {
    /// All kinds, in their wire order.
    pub const ALL: [ErrorKind; 11] = [
        ErrorKind::NotFound,
        ErrorKind::NotADirectory,
        ErrorKind::IsADirectory,
        ErrorKind::NotALink,
        ErrorKind::Corrupt,
        ErrorKind::Unsupported,
        ErrorKind::Storage,
        ErrorKind::Limit,
        ErrorKind::WorkerLost,
        ErrorKind::Denied,
        ErrorKind::Internal,
    ];

    /// The kind as one lower-case word or phrase for people.
    pub fn phrase(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not found",
            ErrorKind::NotADirectory => "not a directory",
            ErrorKind::IsADirectory => "is a directory",
            ErrorKind::NotALink => "not a symbolic link",
            ErrorKind::Corrupt => "damaged",
            ErrorKind::Unsupported => "not supported",
            ErrorKind::Storage => "storage failed",
            ErrorKind::Limit => "over a limit",
            ErrorKind::WorkerLost => "worker lost",
            ErrorKind::Denied => "not permitted",
            ErrorKind::Internal => "internal error",
        }
    }
}

/// The result of everything that can fail in Spelunk.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, on what, where, and why. See the module's policy.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    object: Option<Cow<'static, str>>,
    offset: Option<u64>,
    cause: Option<Error>,
}

impl Error {
    /// An error of `kind`; `message` says what was being done or what is wrong.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        Error(Box::new(Inner { kind, message: message.into(), object: None, offset: None, cause: None }))
    }

    /// The bytes contradict their format.
    pub fn corrupt(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Corrupt, message)
    }

    /// Well-formed but not read by Spelunk.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Unsupported, message)
    }

    /// No such thing.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::NotFound, message)
    }

    /// A named limit was reached.
    pub fn limit(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Limit, message)
    }

    /// A defect in Spelunk: an invariant of our own did not hold.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Internal, message)
    }

    /// The operating system failed. Its "not found" and "not permitted" stay apart from the rest.
    pub fn from_io(message: impl Into<Cow<'static, str>>, cause: &std::io::Error) -> Error {
        let kind = match cause.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Storage,
        };
        Error::new(kind, message).because(Error::new(kind, cause.to_string()))
    }

    /// The same error with the object it concerns, such as `inode 12` or `MFT record 5`.
    #[must_use]
    pub fn object(mut self, object: impl Into<Cow<'static, str>>) -> Error {
        self.0.object = Some(object.into());
        self
    }

    /// The same error with the byte offset it was seen at, in the layer that reports it.
    #[must_use]
    pub fn at(mut self, offset_bytes: u64) -> Error {
        self.0.offset = Some(offset_bytes);
        self
    }

    /// The same error with the error of the layer below as its cause.
    #[must_use]
    pub fn because(mut self, cause: Error) -> Error {
        self.0.cause = Some(cause);
        self
    }

    /// A new error of the same kind around this one: what the layer above was doing.
    #[must_use]
    pub fn context(self, message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(self.kind(), message).because(self)
    }

    /// The kind, for decisions.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// This error's own message, without place and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The object this error concerns.
    pub fn object_name(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// Bytes of this error's own texts, without those of its causes.
    pub fn text_bytes(&self) -> usize {
        self.0.message.len() + self.0.object.as_ref().map_or(0, |object| object.len())
    }

    /// The byte offset this error was seen at.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The error below this one.
    pub fn cause(&self) -> Option<&Error> {
        self.0.cause.as_ref()
    }

    /// This error and its causes, outermost first.
    pub fn chain(&self) -> impl Iterator<Item = &Error> {
        std::iter::successors(Some(self), |error| error.cause())
    }
}

/// One line: message, place. The cause is not repeated; see [`Error::chain`].
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match (&self.0.object, self.0.offset) {
            (Some(object), Some(offset)) => write!(f, " ({object}, byte {offset})"),
            (Some(object), None) => write!(f, " ({object})"),
            (None, Some(offset)) => write!(f, " (byte {offset})"),
            (None, None) => Ok(()),
        }
    }
}

/// The kind and the whole chain, for test failures and logs.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().phrase())?;
        for error in self.chain() {
            write!(f, ": {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}

/// Adds what was being done to the error of a result.
pub trait ResultExt<T> {
    /// See [`Error::context`]; the message is made only on failure.
    fn context<M: Into<Cow<'static, str>>>(self, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context<M: Into<Cow<'static, str>>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| error.context(message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_of_contexts_keeps_kind_and_order() {
        let error = Error::corrupt("bad magic").object("inode 12").at(4096).context("reading a directory");

        let lines: Vec<String> = error.chain().map(ToString::to_string).collect();

        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(lines, ["reading a directory", "bad magic (inode 12, byte 4096)"]);
    }

    #[test]
    fn io_not_found_stays_not_found() {
        let io = std::io::Error::from(std::io::ErrorKind::NotFound);

        assert_eq!(Error::from_io("opening", &io).kind(), ErrorKind::NotFound);
    }
}
