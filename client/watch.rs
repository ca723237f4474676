//! `client watch`: the events of all nodes as they happen, merged.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use raft_lab::raft::event::Event;
use raft_lab::raft::types::NodeId;
use raft_lab::wire::client::{Answer, Request};

use crate::connection::{ATTEMPT, Connection};
use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print, tell};
use crate::palette;

pub const COMMAND: Command = Command {
    name: "watch",
    usage: "watch",
    summary: "the events of all nodes as they happen, merged",
    help: "Prints the log lines of all nodes as they happen, merged in the order of their times, until Ctrl-C. What
happened before it began is not repeated. A node that is lost is said on standard error, and tried
again until it is back.
",
    flags: &[],
    run,
};

/// How long to wait before a lost node is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Lines that arrive this close together are put into the order of their times.
const GATHER: Duration = Duration::from_millis(30);
/// The most lines that wait to be printed. When the reader of the output is slower, the nodes' lines wait in
/// the sockets, and a node hangs up on a watcher that is too slow.
const QUEUE: usize = 10_000;

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    arguments.no_words("watch")?;
    let (sender, lines) = sync_channel(QUEUE);
    for (node, address) in options.cluster.members() {
        let (sender, address) = (sender.clone(), address.to_string());
        thread::spawn(move || follow(node, &address, &sender));
    }
    drop(sender);
    print_merged(&lines)
}

/// Watches one node for ever; ends when nobody reads the lines any more.
fn follow(listed: NodeId, address: &str, lines: &SyncSender<Line>) {
    let mut said = None;
    loop {
        let why = match listen(listed, address, lines, said.is_some()) {
            Ok(End::NobodyReads) => return,
            Ok(End::Lost(why)) => {
                said = None;
                why
            }
            Err(why) => why,
        };
        if said.is_none() {
            tell(format_args!("-- {listed} ({address}) is lost: {why}; it is tried again until it is back\n"));
            said = Some(why);
        }
        thread::sleep(RETRY);
    }
}

/// How watching a node ended.
enum End {
    Lost(String),
    NobodyReads,
}

/// Reads the events of one node. The error: it could not even be reached.
fn listen(listed: NodeId, address: &str, lines: &SyncSender<Line>, was_lost: bool) -> Result<End, String> {
    let mut connection = Connection::open(address, ATTEMPT)?;
    match connection.ask(&Request::Watch, ATTEMPT)? {
        Answer::Watching(node) if was_lost => tell(format_args!("-- {node} ({address}) is back\n")),
        Answer::Watching(_) => {}
        Answer::Error { text, .. } => return Err(text),
        _ => return Err("it answered something else than its events".to_string()),
    }
    loop {
        // A leader's heartbeats are lines too, but a node alone may say nothing for long: no time-out.
        match connection.receive_line(None) {
            Ok(line) => {
                if lines.send(Line::read(listed, line)).is_err() {
                    return Ok(End::NobodyReads);
                }
            }
            Err(why) => return Ok(End::Lost(why)),
        }
    }
}

/// A line with what it is sorted and coloured by.
struct Line {
    at: Option<Duration>,
    node: NodeId,
    text: String,
}

impl Line {
    fn read(listed: NodeId, text: &str) -> Line {
        match text.parse::<Event>() {
            Ok(event) => Line { at: Some(event.at), node: event.node, text: text.to_string() },
            // Not an event that this client knows (the node may be newer): shown, but nothing of it is believed.
            Err(_) => Line { at: None, node: listed, text: text.escape_debug().to_string() },
        }
    }
}

fn print_merged(lines: &Receiver<Line>) -> Result<(), Failure> {
    let color = palette::wanted();
    while let Ok(first) = lines.recv() {
        thread::sleep(GATHER);
        let mut batch = vec![first];
        batch.extend(lines.try_iter().take(QUEUE));
        in_order(&mut batch);
        let mut text = String::new();
        for line in &batch {
            text.push_str(&if color { palette::paint(line.node, &line.text) } else { line.text.clone() });
            text.push('\n');
        }
        print(&text)?;
    }
    Ok(())
}

/// By time, but never two lines of one node against their order.
fn in_order(batch: &mut [Line]) {
    // A clock never runs backwards in a node, but it passes midnight: then the order of arrival stands.
    let midnight = batch.iter().filter_map(|line| line.at).any(|at| at > Duration::from_secs(23 * 3600))
        && batch.iter().filter_map(|line| line.at).any(|at| at < Duration::from_secs(3600));
    if !midnight && batch.iter().all(|line| line.at.is_some()) {
        batch.sort_by_key(|line| line.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(times: &[Option<u64>]) -> Vec<Option<u64>> {
        let line = |at: &Option<u64>| Line { at: at.map(Duration::from_secs), node: NodeId(1), text: String::new() };
        let mut batch: Vec<_> = times.iter().map(line).collect();
        in_order(&mut batch);
        batch.iter().map(|line| line.at.map(|at| at.as_secs())).collect()
    }

    #[test]
    fn lines_are_sorted_by_time_unless_that_is_unknown_or_midnight_passes() {
        assert_eq!(order(&[Some(3), Some(1), Some(2)]), [Some(1), Some(2), Some(3)]);
        assert_eq!(order(&[Some(3), None, Some(2)]), [Some(3), None, Some(2)]);
        assert_eq!(order(&[Some(86_399), Some(0), Some(86_399)]), [Some(86_399), Some(0), Some(86_399)]);
    }
}
