//! The client of the lab: appends strings, reads the log, keeps lists under keys, watches the nodes; and runs a
//! cluster without Docker.
//!
//! This file only dispatches: each command is a file of its own. What they share:
//! `options` (the command line), `session` (changes, exactly once), `pages` (answers of many lines), `leader`
//! (finding the leader and staying with it), `connection` (one node),
//! `lines` (log lines of several nodes, merged), `process` (nodes as processes), `output` (standard output,
//! failures), `json`, `palette` (a colour for each node).

mod append;
mod cluster;
mod columns;
mod connection;
mod demo;
mod fault;
mod get;
mod json;
mod keys;
mod leader;
mod lines;
mod log;
mod options;
mod output;
mod pages;
mod palette;
mod process;
mod put;
mod readmit;
mod scenario;
mod session;
mod split_vote;
mod status;
mod verify;
mod watch;
mod web;

use std::process::ExitCode;

use options::Command;

const COMMANDS: [&Command; 18] = [
    &append::COMMAND,
    &log::COMMAND,
    &put::COMMAND,
    &get::COMMAND,
    &keys::COMMAND,
    &status::COMMAND,
    &watch::COMMAND,
    &demo::COMMAND,
    &verify::COMMAND,
    &columns::COMMAND,
    &readmit::COMMAND,
    &fault::FAULT,
    &fault::PARTITION,
    &fault::HEAL,
    &split_vote::COMMAND,
    &cluster::COMMAND,
    &scenario::COMMAND,
    &web::COMMAND,
];

fn main() -> ExitCode {
    output::exit_code(options::read(&COMMANDS).and_then(|call| match call {
        options::Call::Help(text) => output::print(&text),
        options::Call::Run { command, options, arguments } => (command.run)(&options, &arguments),
    }))
}
