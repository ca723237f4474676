//! `client watch`: the events of all nodes as they happen, merged.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use raft_lab::raft::types::NodeId;
use raft_lab::wire::client::{Answer, Request};

use crate::connection::{ATTEMPT, Connection};
use crate::lines::{GATHER, Line, in_order};
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
        let why = match listen(address, lines, said.is_some()) {
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
fn listen(address: &str, lines: &SyncSender<Line>, was_lost: bool) -> Result<End, String> {
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
                if lines.send(Line::read(line)).is_err() {
                    return Ok(End::NobodyReads);
                }
            }
            Err(why) => return Ok(End::Lost(why)),
        }
    }
}

fn print_merged(lines: &Receiver<Line>) -> Result<(), Failure> {
    let colors = palette::wanted();
    while let Ok(first) = lines.recv() {
        thread::sleep(GATHER);
        let mut batch = vec![first];
        batch.extend(lines.try_iter().take(QUEUE));
        in_order(&mut batch, |line| line);
        let mut text = String::new();
        batch.iter().for_each(|line| line.push(&mut text, colors));
        print(&text)?;
    }
    Ok(())
}
