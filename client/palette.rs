//! A colour for each node, so that interleaved lines can be told apart at a glance.

use std::env;
use std::io::{self, IsTerminal};

use raft_lab::raft::types::NodeId;

use crate::options::Arguments;
use crate::output::Failure;

/// Cyan, yellow, green, magenta, blue, red, and their bright sisters.
const COLORS: [u8; 9] = [36, 33, 32, 35, 34, 31, 96, 93, 92];

/// Whether to colour standard output: on a terminal, unless `NO_COLOR` says otherwise.
pub fn wanted() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What `--color` says: `auto` where it is not given.
pub fn chosen(arguments: &Arguments) -> Result<bool, Failure> {
    match arguments.value("--color").unwrap_or("auto") {
        "auto" => Ok(wanted()),
        "always" => Ok(true),
        "never" => Ok(false),
        other => Err(Failure::Usage(format!("--color: expected auto, always or never, got {other:?}"))),
    }
}

/// `text` in the colour of `node`.
pub fn paint(node: NodeId, text: &str) -> String {
    let color = COLORS[(node.0.max(1) - 1) as usize % COLORS.len()];
    format!("\x1b[{color}m{text}\x1b[0m")
}
