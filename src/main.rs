//! The node.

use std::io::Write;
use std::process::ExitCode;

use raft_lab::node;
use raft_lab::settings::{self, Wanted};

fn main() -> ExitCode {
    run()
}

fn run() -> ExitCode {
    let mut args = Vec::new();
    for arg in std::env::args_os().skip(1) {
        match arg.into_string() {
            Ok(arg) => args.push(arg),
            Err(arg) => return wrong(2, &format!("{}: expected UTF-8", arg.display())),
        }
    }
    match settings::read(&args, |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())) {
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

fn wrong(code: u8, text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "node: {text}");
    ExitCode::from(code)
}
