//! The colours of the log on a terminal: what a reader looks for stands out, heartbeats step back.

use crate::raft::event::{Event, Fact};
use crate::raft::types::Role;

/// Ends every colour.
pub const RESET: &str = "\x1b[0m";

/// The colour of a role.
pub fn of_role(role: Role) -> &'static str {
    match role {
        Role::Follower => "\x1b[34m",
        Role::PreCandidate => "\x1b[36m",
        Role::Candidate => "\x1b[33m",
        Role::Leader => "\x1b[32m",
    }
}

/// How a whole line of this kind looks, where it is not as any other.
pub fn of_fact(fact: &Fact) -> Option<&'static str> {
    match fact {
        Fact::Error { .. } => Some("\x1b[1;31m"),
        Fact::State { .. } => Some("\x1b[1m"),
        Fact::HeartbeatSent { .. } | Fact::HeartbeatReceived { .. } => Some("\x1b[2m"),
        Fact::Truncate { .. } | Fact::Fault { .. } => Some("\x1b[31m"),
        _ => None,
    }
}

/// Adds the event's line, which ends with a newline, with colours. The columns stay as they are.
pub fn push_line(out: &mut String, event: &Event, line: &str) {
    let line = line.trim_end_matches('\n');
    let (whole, role) = (of_fact(&event.fact), of_role(event.role));
    out.push_str(whole.unwrap_or_default());
    match line.split_once(event.role.column()) {
        Some((before, after)) => {
            out.push_str(before);
            for part in [role, event.role.column(), RESET, whole.unwrap_or_default(), after] {
                out.push_str(part);
            }
        }
        None => out.push_str(line),
    }
    if whole.is_some() {
        out.push_str(RESET);
    }
    out.push('\n');
}
