//! What is typed while the cluster runs.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read};
use std::sync::mpsc::SyncSender;
use std::thread;

use raft_lab::raft::types::NodeId;

use super::Happening;

pub const HELP: &str = "stop N kills node N, start N revives it, quit ends all";
/// The longest line that is read, in bytes.
const MAX_ORDER_BYTES: u64 = 1000;

#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    Stop(NodeId),
    Start(NodeId),
    Help,
    Quit,
    Unclear(String),
}

/// Reads orders from standard input in a thread of its own; false where there is nobody to type them.
pub fn listen(happenings: SyncSender<Happening>) -> bool {
    if io::stdin().is_terminal() && in_background() {
        return false;
    }
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = String::new();
            let end = !matches!(input.by_ref().take(MAX_ORDER_BYTES).read_line(&mut line), Ok(1..));
            let news = if end { Happening::ConsoleClosed } else { Happening::Ordered(understand(&line)) };
            if happenings.send(news).is_err() || end {
                return;
            }
        }
    });
    true
}

fn understand(line: &str) -> Order {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.trim_start_matches("node_").parse().map(NodeId).ok();
    let order = match words[..] {
        [] | ["help" | "?"] => Some(Order::Help),
        ["quit" | "exit"] => Some(Order::Quit),
        ["stop" | "kill", node] => number(node).map(Order::Stop),
        ["start", node] => number(node).map(Order::Start),
        _ => None,
    };
    order.unwrap_or_else(|| Order::Unclear(format!("{:?}", line.trim_end())))
}

/// Whether the terminal belongs to another job: reading from it would stop this one (SIGTTIN), nodes and all.
/// `client cluster &` does that. Where the system has no `/proc`, nobody knows.
fn in_background() -> bool {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return false };
    // Behind the name, which may hold anything, in parentheses: state, parent, group, session, terminal, its group.
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    matches!((fields.get(2), fields.get(5)), (Some(group), Some(foreground)) if group != foreground)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        assert_eq!(understand("stop 3\n"), Order::Stop(NodeId(3)));
        assert_eq!(understand("  start node_1 "), Order::Start(NodeId(1)));
        assert_eq!(understand("quit"), Order::Quit);
        assert_eq!(understand("\n"), Order::Help);
        assert_eq!(understand("stop\n"), Order::Unclear("\"stop\"".to_string()));
        assert_eq!(understand("stop x"), Order::Unclear("\"stop x\"".to_string()));
    }
}
