//! Standard output and the ways in which a command ends.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 2: one line that names what was given and what is allowed.
    Usage(String),
    /// Exit code 1: says what was tried, the cure, and of an append whether it may still be committed.
    NotDone(String),
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

/// The line that counts what `append -` has done, rewritten in place; nothing where standard error is no terminal.
pub struct ProgressLine {
    terminal: bool,
    shown: bool,
}

impl ProgressLine {
    pub fn new() -> ProgressLine {
        ProgressLine { terminal: io::stderr().is_terminal(), shown: false }
    }

    pub fn show(&mut self, text: &str) {
        if self.terminal {
            tell(format_args!("\r\x1b[K{text}"));
            self.shown = true;
        }
    }

    /// Takes the line away, so that something else can be printed in its place.
    pub fn clear(&mut self) {
        if self.shown {
            tell("\r\x1b[K");
            self.shown = false;
        }
    }
}

/// The end of the program: the exit code, and the failure on standard error.
pub fn exit_code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::NotDone(why)) => {
            tell(format_args!("client: {why}\n"));
            ExitCode::from(1)
        }
        Err(Failure::Usage(why)) => {
            tell(format_args!("client: {why} (see client --help)\n"));
            ExitCode::from(2)
        }
    }
}
