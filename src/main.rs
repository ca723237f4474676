//! The node.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::Write;
use std::process::ExitCode;

use raft_lab::node;
use raft_lab::settings::{self, Wanted};
use raft_lab::text::shorten;

fn main() -> ExitCode {
    run()
}

fn run() -> ExitCode {
    let mut args = Vec::new();
    for arg in std::env::args_os().skip(1) {
        match arg.into_string() {
            Ok(arg) => args.push(arg),
            Err(arg) => return wrong(2, &no_text("the command line", &arg)),
        }
    }
    let not_text = RefCell::new(None);
    let variable = |name: &str| {
        let value = std::env::var_os(name)?.into_string();
        value.map_err(|value| not_text.replace(Some(no_text(name, &value)))).ok()
    };
    let wanted = settings::read(&args, variable);
    if let Some(error) = not_text.take() {
        return wrong(2, &error);
    }
    match wanted {
        Ok(Wanted::Run(settings)) => match node::run(*settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => wrong(1, &error),
        },
        Ok(Wanted::Print(text)) => {
            // Nobody to read it is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => wrong(2, &format!("{error} (see node --help)")),
    }
}

fn no_text(name: &str, given: &OsStr) -> String {
    format!("{name}: expected UTF-8, got {}", shorten(&given.to_string_lossy()))
}

fn wrong(code: u8, text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "node: {text}");
    ExitCode::from(code)
}
