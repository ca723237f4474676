//! The client of the lab: appends strings, reads the log, watches the nodes; and runs a cluster without Docker.
//!
//! This file only dispatches: each command is a file of its own. What they share:
//! `options` (the command line), `leader` (finding the leader and staying with it), `connection` (one
//! node), `lines` (log lines of several nodes, merged), `output` (standard output, failures), `json`, `palette`
//! (a colour for each node).

mod append;
mod cluster;
mod connection;
mod demo;
mod json;
mod leader;
mod lines;
mod log;
mod options;
mod output;
mod palette;
mod session;
mod status;
mod watch;
mod web;

use std::process::ExitCode;

use options::Command;

const COMMANDS: [&Command; 6] =
    [&append::COMMAND, &log::COMMAND, &status::COMMAND, &watch::COMMAND, &demo::COMMAND, &cluster::COMMAND];

fn main() -> ExitCode {
    output::exit_code(options::read(&COMMANDS).and_then(|call| match call {
        options::Call::Help(text) => output::print(&text),
        options::Call::Run { command, options, arguments } => (command.run)(&options, &arguments),
    }))
}
