//! Where all output goes: stdout is data, stderr is talk, progress is for terminals.

use super::error::{Error, Outcome, describe, say};
use super::{escape, json};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Prints one command's output and remembers what was broken.
pub struct Printer {
    out: BufWriter<Stdout>,
    is_terminal: bool,
    progress: ProgressBar,
    outcome: Outcome,
}

impl Printer {
    /// A printer to stdout and stderr.
    pub fn new() -> Printer {
        let stdout = io::stdout();
        Printer {
            is_terminal: stdout.is_terminal(),
            out: BufWriter::with_capacity(BUFFER_BYTES, stdout),
            progress: ProgressBar::hidden(),
            outcome: Outcome::Done,
        }
    }

    /// The same, for a command whose data goes to a file: progress may be shown though stdout is a terminal.
    pub fn beside_file() -> Printer {
        Printer { is_terminal: false, ..Printer::new() }
    }

    /// Whether the data goes to a terminal.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Shows progress on stderr from now on, where it is a terminal that the data does not go to. With
    /// `total_bytes` a bar, else a counter.
    pub fn start_progress(&mut self, total_bytes: Option<u64>) -> ProgressBar {
        let template = match total_bytes {
            Some(_) => "{bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left [{wide_bar}]",
            None => "{spinner} {msg} entries, {bytes}, {binary_bytes_per_sec}",
        };
        self.show_progress(template, total_bytes)
    }

    /// The same, as a bar of things, with a message behind their number.
    pub fn start_counting(&mut self, things: &str) -> ProgressBar {
        self.show_progress(&format!("{{pos}} of {{len}} {things}, {{msg}} [{{bar:20}}]"), Some(0))
    }

    fn show_progress(&mut self, template: &str, total: Option<u64>) -> ProgressBar {
        if !self.is_terminal && io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(template);
            self.progress = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            self.progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.progress.enable_steady_tick(Duration::from_millis(200));
        }
        self.progress.clone()
    }

    /// Writes data.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.out.write_all(data).map_err(Error::output)
    }

    /// Writes a line of data. On a terminal it is seen at once.
    ///
    /// # Errors
    /// As [`Printer::write`].
    pub fn line(&mut self, text: &str) -> Result<(), Error> {
        self.write(text.as_bytes())?;
        self.write(b"\n")?;
        self.end_record()
    }

    /// Writes an object as one line of JSON.
    ///
    /// # Errors
    /// As [`Printer::write`].
    pub fn json_line<T: Serialize>(&mut self, value: &T) -> Result<(), Error> {
        json::write(&mut self.out, value, false).map_err(Error::output)?;
        self.end_record()
    }

    /// Writes an object as indented JSON.
    ///
    /// # Errors
    /// As [`Printer::write`].
    pub fn json_document<T: Serialize>(&mut self, value: &T) -> Result<(), Error> {
        json::write(&mut self.out, value, true).map_err(Error::output)
    }

    /// Says that a piece of output is complete: on a terminal it is shown now.
    ///
    /// # Errors
    /// As [`Printer::write`].
    pub fn end_record(&mut self) -> Result<(), Error> {
        if self.is_terminal { self.out.flush().map_err(Error::output) } else { Ok(()) }
    }

    /// Tells of a part that is damaged or unsupported; the command goes on.
    pub fn broken(&mut self, path: &[u8], error: &spelunk_tree::Error) {
        self.talk(&format!("warning: {}: {}", escape::escape(path), escape::message(&describe(error))));
        if self.outcome == Outcome::Done {
            self.outcome = Outcome::Partial;
        }
    }

    /// Tells of something asked for that could not be shown at all; the command goes on.
    pub fn failed(&mut self, error: &Error) {
        self.talk(&error.message());
        self.outcome = Outcome::Failed;
    }

    /// Says something on stderr, after the data before it.
    pub fn talk(&mut self, line: &str) {
        // What stdout has to say of it is said by the next write.
        _ = self.out.flush();
        self.progress.suspend(|| say(line));
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// As [`Printer::write`].
    pub fn finish(mut self) -> Result<Outcome, Error> {
        self.progress.finish_and_clear();
        self.out.flush().map_err(Error::output)?;
        Ok(self.outcome)
    }
}
