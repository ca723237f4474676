//! `client status`: every node asked at the same time, a row for each.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use raft_lab::raft::types::{Index, NodeId};
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
  peers up  how many of the other nodes this node is connected to

  --json    the same as an array of objects: node, up, role, term, leader, last_index, last_term,
            commit_index, last_applied, lag, peers_up, peers, uptime_seconds; of a node that is down
            node, up and error
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

fn ask(address: &str, limit: Duration) -> Result<NodeStatus, String> {
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
    let head = ["node", "role", "term", "leader", "last", "commit", "applied", "lag", "peers up"];
    let mut cells = vec![head.map(str::to_string)];
    for row in rows {
        cells.push(match &row.status {
            Ok(status) => [
                row.node.to_string(),
                status.role.to_string(),
                status.term.to_string(),
                leader_name(status).to_string(),
                status.last.to_string(),
                status.commit.to_string(),
                status.applied.to_string(),
                lag(rows, status).to_string(),
                format!("{} of {}", peers_up(status), status.peers.len()),
            ],
            Err(_) => [row.node.to_string(), "down".to_string()]
                .into_iter()
                .chain(std::iter::repeat_n("-".to_string(), 7))
                .collect::<Vec<_>>()
                .try_into()
                .unwrap_or_default(),
        });
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut lines = String::new();
    for (number, row) in cells.iter().enumerate() {
        let aligned: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let mut line = aligned.join("  ");
        if let Some(Err(why)) = number.checked_sub(1).map(|row| &rows[row].status) {
            line = format!("{}  {why}", line.trim_end());
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

fn json_object(rows: &[Row], row: &Row) -> Json {
    let node = Json::string(row.node);
    match &row.status {
        Ok(status) => Json::object([
            ("node", node),
            ("up", true.into()),
            ("role", Json::string(status.role)),
            ("term", status.term.into()),
            ("leader", status.leader.map_or(Json::Null, Json::string)),
            ("last_index", status.last.index.into()),
            ("last_term", status.last.term.into()),
            ("commit_index", status.commit.into()),
            ("last_applied", status.applied.into()),
            ("lag", lag(rows, status).into()),
            ("peers_up", (peers_up(status) as u64).into()),
            ("peers", (status.peers.len() as u64).into()),
            ("uptime_seconds", Json::seconds(status.uptime, 1)),
        ]),
        Err(why) => Json::object([
            ("node", node),
            ("up", false.into()),
            ("role", Json::Null),
            ("term", Json::Null),
            ("leader", Json::Null),
            ("last_index", Json::Null),
            ("last_term", Json::Null),
            ("commit_index", Json::Null),
            ("last_applied", Json::Null),
            ("lag", Json::Null),
            ("peers_up", Json::Null),
            ("peers", Json::Null),
            ("uptime_seconds", Json::Null),
            ("error", Json::string(why)),
        ]),
    }
}
