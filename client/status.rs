//! `client status`: every node asked at the same time, a row for each.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use raft_lab::raft::types::{EntryId, Index, NodeId};
use raft_lab::wire::client::{Answer, NodeStatus, Request};

use crate::connection::{ATTEMPT, Connection};
use crate::json::Json;
use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print, print_line};

pub const COMMAND: Command = Command {
    name: "status",
    usage: "status [--json]",
    summary: "a table of the nodes: role, term, leader, how far each log is",
    help: "Prints a row for each node; one that does not answer keeps its row and says why. All are asked at the
same time, so a row may be a moment older than the next. Ends with 0 if at least one node answered.

  last      the last entry of the node's log, index@term
  commit    the highest index that the node knows to be committed
  applied   the highest index whose string is in the node's list
  lag       how many entries this is behind the highest commit index of all nodes
  snapshot  entries up to this one are in the node's snapshot and gone from its log; the column is there once
            a node has one
  peers up  how many of the other nodes this node is connected to

  --json    the same as an array of objects: node, up, role, term, leader, last_index, last_term,
            commit_index, last_applied, leader_commit_index, lag, snapshot_index, snapshot_term, log_len
            (entries behind the snapshot), log_bytes, snapshot_bytes, keys, peers_up, peers, heard_seconds (ago,
            its leader; of a leader: a majority), uptime_seconds, and of a leader next_index and match_index
            of each peer; of a node that is down node, up and error
",
    flags: &[("--json", None)],
    run,
};

/// One row: what a node said, or why it said nothing.
pub struct Row {
    pub node: NodeId,
    pub status: Result<NodeStatus, String>,
}

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    arguments.no_words("status")?;
    let rows = ask_all(options, ATTEMPT.min(options.timeout));
    if arguments.has("--json") {
        print_line(format_args!("{:#}", json(&rows)))?;
    } else {
        print(&table(&rows))?;
    }
    if rows.iter().any(|row| row.status.is_ok()) {
        return Ok(());
    }
    let places: Vec<_> = options.cluster.members().map(|(_, address)| address).collect();
    Err(Failure::NotDone(format!("no node answered at {}. {}", places.join(", "), options.cure())))
}

/// Asks every node at the same time. A node that has not answered in time is a row too.
pub fn ask_all(options: &Options, limit: Duration) -> Vec<Row> {
    let (sender, receiver) = channel();
    let mut rows = Vec::new();
    for (node, address) in options.cluster.members() {
        let (sender, address) = (sender.clone(), address.to_string());
        // Not joined: resolving a name has no time-out.
        thread::spawn(move || {
            // Nobody waits for one that is late.
            let _ = sender.send((node, ask(&address, limit)));
        });
        rows.push(Row { node, status: Err("no answer in time".to_string()) });
    }
    drop(sender);
    // A little more than each thread has for itself, so that the reasons can come in.
    let deadline = Instant::now() + limit + Duration::from_millis(200);
    while let Ok((node, status)) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Some(row) = rows.iter_mut().find(|row| row.node == node) {
            row.status = status;
        }
    }
    // A list need not name the nodes in their order: whoever answered knows its name best.
    for row in &mut rows {
        if let Ok(status) = &row.status {
            row.node = status.node;
        }
    }
    rows
}

/// Asks one node how it is.
pub fn ask(address: &str, limit: Duration) -> Result<NodeStatus, String> {
    match Connection::open(address, limit)?.ask(&Request::Status, limit)? {
        Answer::Status(status) => Ok(status),
        Answer::Error { text, .. } => Err(text),
        _ => Err("it answered something else than its status".to_string()),
    }
}

/// The leader of the newest term, if one of the nodes says that it is one.
pub fn leader(rows: &[Row]) -> Option<&NodeStatus> {
    let answers = rows.iter().filter_map(|row| row.status.as_ref().ok());
    answers.filter(|status| status.leader == Some(status.node)).max_by_key(|status| status.term)
}

/// How many committed entries a node has not applied yet.
fn lag(rows: &[Row], status: &NodeStatus) -> Index {
    let commits = rows.iter().filter_map(|row| row.status.as_ref().ok()).map(|status| status.commit);
    commits.max().unwrap_or(0).saturating_sub(status.applied)
}

fn table(rows: &[Row]) -> String {
    let answers = || rows.iter().filter_map(|row| row.status.as_ref().ok());
    // A column that says nothing yet only takes room.
    let snapshots = answers().any(|status| status.snapshot != EntryId::ZERO);
    let mut head = vec!["node", "role", "term", "leader", "last", "commit", "applied", "lag"];
    head.extend(snapshots.then_some("snapshot"));
    head.push("peers up");
    let mut cells: Vec<Vec<String>> = vec![head.iter().map(|name| name.to_string()).collect()];
    for row in rows {
        let mut line = vec![row.node.to_string()];
        if let Ok(status) = &row.status {
            line.extend([
                status.role.to_string(),
                status.term.to_string(),
                leader_name(status),
                status.last.to_string(),
                status.commit.to_string(),
                status.applied.to_string(),
                lag(rows, status).to_string(),
            ]);
            line.extend(snapshots.then(|| match status.snapshot {
                EntryId::ZERO => "-".to_string(),
                last => last.to_string(),
            }));
            line.push(format!("{} of {}", peers_up(status), status.peers.len()));
        } else {
            line.push("down".to_string());
            line.resize(head.len(), "-".to_string());
            line.pop();
        }
        cells.push(line);
    }
    let width = |column: usize| {
        let cells = cells.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut lines = String::new();
    for (number, row) in cells.iter().enumerate() {
        let aligned: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let mut line = aligned.join("  ");
        if let Some(Err(why)) = number.checked_sub(1).map(|row| &rows[row].status) {
            line = format!("{line}  {why}");
        }
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines
}

fn leader_name(status: &NodeStatus) -> String {
    status.leader.map_or_else(|| "none".to_string(), |leader| leader.to_string())
}

fn peers_up(status: &NodeStatus) -> usize {
    status.peers.iter().filter(|(_, up)| *up).count()
}

fn json(rows: &[Row]) -> Json {
    Json::Array(rows.iter().map(|row| json_object(rows, row)).collect())
}

/// The names of what is null in the row of a node that is down.
const UNKNOWN: [&str; 19] = [
    "role",
    "term",
    "leader",
    "last_index",
    "last_term",
    "commit_index",
    "last_applied",
    "leader_commit_index",
    "lag",
    "snapshot_index",
    "snapshot_term",
    "log_len",
    "log_bytes",
    "snapshot_bytes",
    "keys",
    "peers_up",
    "peers",
    "heard_seconds",
    "uptime_seconds",
];

fn json_object(rows: &[Row], row: &Row) -> Json {
    let mut members = vec![("node", Json::string(row.node)), ("up", row.status.is_ok().into())];
    let status = match &row.status {
        Ok(status) => status,
        Err(why) => {
            members.extend(UNKNOWN.map(|name| (name, Json::Null)));
            members.push(("error", Json::string(why)));
            return Json::members(members);
        }
    };
    members.extend([
        ("role", Json::string(status.role)),
        ("term", status.term.into()),
        ("leader", status.leader.map_or(Json::Null, Json::string)),
        ("last_index", status.last.index.into()),
        ("last_term", status.last.term.into()),
        ("commit_index", status.commit.into()),
        ("last_applied", status.applied.into()),
        ("leader_commit_index", status.leader_commit.into()),
        ("lag", lag(rows, status).into()),
        ("snapshot_index", status.snapshot.index.into()),
        ("snapshot_term", status.snapshot.term.into()),
        ("log_len", status.log_len.into()),
        ("log_bytes", status.log_bytes.into()),
        ("snapshot_bytes", status.snapshot_bytes.into()),
        ("keys", status.keys.into()),
        ("peers_up", (peers_up(status) as u64).into()),
        ("peers", (status.peers.len() as u64).into()),
        ("heard_seconds", status.heard.map_or(Json::Null, |heard| Json::seconds(heard, 3))),
        ("uptime_seconds", Json::seconds(status.uptime, 1)),
    ]);
    if !status.progress.is_empty() {
        let each = |value: fn(&(NodeId, Index, Index)) -> Index| {
            Json::members(status.progress.iter().map(|peer| (peer.0, value(peer).into())))
        };
        members.extend([("next_index", each(|peer| peer.1)), ("match_index", each(|peer| peer.2))]);
    }
    Json::members(members)
}
