//! The errors of the program and what becomes of them: one line on stderr, perhaps a hint, an exit code.
//!
//! Policy: [`spelunk_tree::Error`] says what failed; here is added only what it was about (the image
//! itself, or something else), because that decides the exit code, and what the user may do about it.

use super::escape;
use crate::library::{PASSWORD_HINT, is_about_password};
use spelunk_tree::ErrorKind;
use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was done.
    Done,
    /// Done, but parts were damaged or unsupported; each was named on stderr.
    Partial,
    /// What was asked for could not be shown; why stands on stderr already.
    Failed,
}

impl Outcome {
    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Partial => 3,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Error {
    cause: Cause,
    hint: Option<Cow<'static, str>>,
}

#[derive(Debug)]
enum Cause {
    /// Wrong usage that the argument parser could not see.
    Usage(String),
    /// The image itself could not be opened.
    Image(spelunk_tree::Error),
    /// Anything else.
    Other(spelunk_tree::Error),
    /// stdout could not be written.
    Output(io::Error),
}

impl Error {
    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Error {
        Error { cause: Cause::Usage(message.into()), hint: None }
    }

    /// The image (or its chain) could not be opened.
    pub fn image(error: spelunk_tree::Error) -> Error {
        let hint =
            if is_about_password(&error) { Some(PASSWORD_HINT.into()) } else { image_hint(error.kind()) };
        Error { cause: Cause::Image(error), hint }
    }

    /// stdout could not be written.
    pub fn output(error: io::Error) -> Error {
        Error { cause: Cause::Output(error), hint: None }
    }

    /// The same error with the image's name before it.
    #[must_use]
    pub fn about(mut self, image: &Path) -> Error {
        if let Cause::Image(error) = self.cause {
            let name = escape::escape(image.as_os_str().as_encoded_bytes()).into_owned();
            self.cause = Cause::Image(error.context(name));
        }
        self
    }

    /// The same error with a hint: what the user may try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the reader of our output has gone: no failure, and nothing to tell anyone.
    pub fn is_closed_output(&self) -> bool {
        matches!(&self.cause, Cause::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code, as the README lists them.
    pub fn exit_code(&self) -> u8 {
        const FAILED: u8 = 1;
        const USAGE: u8 = 2;
        const NO_SUCH_IMAGE: u8 = 10;
        const NOT_PERMITTED: u8 = 12;
        let (kind, is_image) = match &self.cause {
            Cause::Usage(_) => return USAGE,
            Cause::Output(_) => return FAILED,
            Cause::Image(error) => (error.kind(), true),
            Cause::Other(error) => (error.kind(), false),
        };
        match kind {
            ErrorKind::NotFound | ErrorKind::NotADirectory if is_image => NO_SUCH_IMAGE,
            ErrorKind::Denied => NOT_PERMITTED,
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::NotALink
            | ErrorKind::Corrupt
            | ErrorKind::Unsupported
            | ErrorKind::Storage
            | ErrorKind::Limit
            | ErrorKind::WorkerLost
            | ErrorKind::Internal => FAILED,
        }
    }

    /// What the user is told on stderr: a line, and perhaps a hint on a second.
    pub fn message(&self) -> String {
        let text = match &self.cause {
            Cause::Usage(message) => message.clone(),
            Cause::Output(error) => format!("writing to stdout: {error}"),
            Cause::Image(error) | Cause::Other(error) => describe(error),
        };
        let line = format!("error: {}", escape::message(&text));
        match &self.hint {
            Some(hint) => format!("{line}\nhint: {}", escape::message(hint)),
            None => line,
        }
    }
}

impl From<spelunk_tree::Error> for Error {
    fn from(error: spelunk_tree::Error) -> Error {
        Error { cause: Cause::Other(error), hint: None }
    }
}

/// Writes a line on stderr. Where nobody listens there is nobody to tell that.
pub fn say(line: &str) {
    _ = writeln!(io::stderr().lock(), "{line}");
}

/// The kind, where the words do not tell it, and the chain of causes.
pub fn describe(error: &spelunk_tree::Error) -> String {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    let text = chain.join(": ");
    let phrase = match error.kind() {
        // Here the words tell it: the path that was not found, what the operating system said.
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::NotALink
        | ErrorKind::Storage
        | ErrorKind::Denied => return text,
        ErrorKind::Corrupt
        | ErrorKind::Unsupported
        | ErrorKind::Limit
        | ErrorKind::WorkerLost
        | ErrorKind::Internal => error.kind().phrase(),
    };
    if text.contains(phrase) {
        return text;
    }
    // After what was being done, before what is wrong.
    match chain.split_last() {
        Some((wrong, doing)) if !doing.is_empty() => format!("{}: {phrase}: {wrong}", doing.join(": ")),
        _ => format!("{phrase}: {text}"),
    }
}

fn image_hint(kind: ErrorKind) -> Option<Cow<'static, str>> {
    match kind {
        ErrorKind::IsADirectory => Some("give the image file itself".into()),
        ErrorKind::Denied => Some("reading the image is enough; root is never needed".into()),
        ErrorKind::WorkerLost => Some("`spelunk doctor` shows whether the jail works here".into()),
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::NotALink
        | ErrorKind::Corrupt
        | ErrorKind::Unsupported
        | ErrorKind::Storage
        | ErrorKind::Limit
        | ErrorKind::Internal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::Error as TreeError;

    #[test]
    fn exit_codes_tell_the_image_from_what_is_in_it() {
        let missing = || TreeError::not_found("opening x.img");

        assert_eq!(Error::image(missing()).exit_code(), 10);
        assert_eq!(Error::from(missing()).exit_code(), 1);
        assert_eq!(Error::image(TreeError::new(ErrorKind::Denied, "x")).exit_code(), 12);
        assert_eq!(Error::image(TreeError::corrupt("x")).exit_code(), 1);
        assert_eq!(Error::usage("x").exit_code(), 2);
    }

    #[test]
    fn descriptions_name_the_kind_once() {
        let damaged = TreeError::corrupt("bad magic").at(0).context("a.vhd");
        let absent = TreeError::not_found("no such entry").context("/etc/x");
        let denied = TreeError::from_io("opening a", &io::ErrorKind::PermissionDenied.into());

        assert_eq!(describe(&damaged), "a.vhd: damaged: bad magic (byte 0)");
        assert_eq!(describe(&absent), "/etc/x: no such entry");
        assert_eq!(describe(&TreeError::limit("9 parents")), "over a limit: 9 parents");
        assert_eq!(describe(&denied), "opening a: permission denied");
    }
}
