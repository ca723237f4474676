//! Standard output and the ways in which a command ends.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 2: one line that names what was given and what is allowed.
    Usage(String),
    /// Exit code 1: says what was tried, the cure, and of an append whether it may still be committed.
    NotDone(String),
    /// Exit code 1: the cluster has decided that it is not done, so it never will be.
    Refused(String),
    /// Nobody reads the output any more (`client log | head -1`): a normal end, exit code 0.
    OutputClosed,
}

/// Writes `text` to standard output at once. `println!` would panic when the reader has gone.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::NotDone(format!("cannot write to standard output: {error}")),
    })
}

/// One line on standard output.
pub fn print_line(line: impl Display) -> Result<(), Failure> {
    print(&format!("{line}\n"))
}

/// A line or a part of one on standard error. Whoever closed that does not want to hear of it.
pub fn tell(text: impl Display) {
    let mut output = io::stderr().lock();
    let _ = write!(output, "{text}").and_then(|()| output.flush());
}

/// How often the progress line is written anew.
const PROGRESS: Duration = Duration::from_millis(100);

/// The line that counts what `append -` has done, rewritten in place; nothing where standard error is no terminal.
pub struct ProgressLine {
    terminal: bool,
    /// The answers go to the same terminal, so it gives way to each of them.
    shared: bool,
    shown: Instant,
}

impl ProgressLine {
    pub fn new() -> ProgressLine {
        let (terminal, shared) = (io::stderr().is_terminal(), io::stdout().is_terminal());
        ProgressLine { terminal, shared, shown: Instant::now() }
    }

    /// Something is about to be printed.
    pub fn give_way(&self) {
        if self.terminal && self.shared {
            tell("\r\x1b[K");
        }
    }

    pub fn show(&mut self, text: impl Display) {
        if self.terminal && (self.shared || self.shown.elapsed() >= PROGRESS) {
            self.shown = Instant::now();
            tell(format_args!("\r\x1b[K{text}"));
        }
    }

    /// The last word: it stays.
    pub fn end(self, text: impl Display) {
        if self.terminal {
            tell(format_args!("\r\x1b[K{text}\n"));
        }
    }
}

/// The end of the program: the exit code, and the failure on standard error.
pub fn exit_code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::NotDone(why) | Failure::Refused(why)) => {
            tell(format_args!("client: {why}\n"));
            ExitCode::from(1)
        }
        Err(Failure::Usage(why)) => {
            tell(format_args!("client: {why} (see client --help)\n"));
            ExitCode::from(2)
        }
    }
}
