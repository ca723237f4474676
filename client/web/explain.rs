//! `/admin/status/explain`: each field of the status with one sentence that says what it means and why it has its
//! value now.

use raft_lab::raft::types::Role;

use crate::json::Json;
use crate::web::status::{Field, View};

/// Each field with its value and its sentence.
pub fn json(view: &View) -> Json {
    Json::members(view.fields().into_iter().map(|field| {
        let explained = Json::members([("value", view.value(field)), ("why", Json::String(sentence(view, field)))]);
        (view.name(field), explained)
    }))
}

fn sentence(view: &View, field: Field) -> String {
    let status = view.status;
    let own = status.node;
    match field {
        Field::Version => "the version of raft-lab; nodes and this server are built together".to_string(),
        Field::Revision => "a field of PySyncObj that says nothing any more there either: see version".to_string(),
        Field::Itself => {
            format!("the node that this port speaks for: {own}, and the port on which the cluster reaches it")
        }
        Field::State => state(view),
        Field::Leader => leader(view),
        Field::HasQuorum => quorum(view),
        Field::PartnerCount => {
            format!("the cluster has {} nodes, so each has {} partners", view.cluster_size(), status.peers.len())
        }
        Field::Partner(node, true) => format!("2: {own} is connected to {node}"),
        Field::Partner(node, false) => {
            format!("0: {own} has no connection to {node}, which is stopped or cannot be reached from it")
        }
        Field::ReadonlyCount => "0: this lab has no nodes that only read".to_string(),
        Field::LogLen => log_len(view),
        Field::LastApplied => last_applied(view),
        Field::CommitIdx => commit_idx(view),
        Field::RaftTerm => term(view),
        Field::NextCount | Field::MatchCount if status.role == Role::Leader => {
            format!("as the leader, {own} keeps this index for each of its {} partners", status.peers.len())
        }
        Field::NextCount | Field::MatchCount => {
            format!("0: only a leader keeps this index of each partner, and {own} is {}", a_role(status.role))
        }
        Field::Next(node, next) => next_index(view, node, next),
        Field::Match(node, matched) => match_index(view, node, matched),
        Field::LeaderCommitIdx => leader_commit(view),
        Field::Uptime => {
            format!("the process of {own} has run for {} whole seconds since its last start", status.uptime.as_secs())
        }
        Field::SelfCodeVersion | Field::EnabledCodeVersion => {
            "0: PySyncObj counts versions of the replicated code here; this lab's has one".to_string()
        }
    }
}

fn a_role(role: Role) -> String {
    format!("a {role}")
}

fn state(view: &View) -> String {
    let (status, own) = (view.status, view.status.node);
    match (status.role, status.leader) {
        (Role::Follower, Some(leader)) => {
            format!("0, follower: {own} follows {leader}, the leader of term {}", status.term)
        }
        (Role::Follower, None) => {
            format!("0, follower: {own} knows no leader now, and stands for election when its time-out has passed")
        }
        (Role::PreCandidate, _) => format!(
            "1, candidate: {own} has heard no leader for its election timeout, and asks the others whether they would \
             vote for it before it raises the term from {} (pre-vote)",
            status.term
        ),
        (Role::Candidate, _) => {
            let majority = view.cluster_size() / 2 + 1;
            format!("1, candidate: {own} asks for votes in term {}, and needs {majority} with its own", status.term)
        }
        (Role::Leader, _) => format!(
            "2, leader: at least {} of {} nodes voted for {own} in term {}",
            view.cluster_size() / 2 + 1,
            view.cluster_size(),
            status.term
        ),
    }
}

fn leader(view: &View) -> String {
    let (status, own) = (view.status, view.status.node);
    let heard = match status.heard {
        Some(heard) => format!("{:.1} s ago", heard.as_secs_f64()),
        None => "not yet".to_string(),
    };
    match status.leader {
        Some(leader) if leader == own => {
            format!("{own} leads term {} itself, and last heard from a majority {heard}", status.term)
        }
        Some(leader) => format!("{leader} leads term {}, and {own} last heard from it {heard}", status.term),
        None if view.has_quorum() => format!("null: {own} knows no leader of term {}; an election is due", status.term),
        None => format!(
            "null: {own} knows no leader of term {}, and with {} of {} nodes connected none can be elected",
            status.term,
            view.connected(),
            view.cluster_size()
        ),
    }
}

fn quorum(view: &View) -> String {
    let (connected, size) = (view.connected(), view.cluster_size());
    let own = view.status.node;
    let majority = size / 2 + 1;
    if view.has_quorum() {
        format!("true: {own} and its connected partners are {connected} of {size} nodes, and {majority} are a majority")
    } else {
        format!(
            "false: {own} and its connected partners are {connected} of {size} nodes, and a majority needs {majority}: \
             nothing can be committed"
        )
    }
}

fn log_len(view: &View) -> String {
    let status = view.status;
    let (len, commit, last) = (status.log_len, status.commit, status.last.index);
    let open = match last.saturating_sub(commit) {
        0 => String::new(),
        more => format!("; {more} at its end not known to be committed"),
    };
    match status.snapshot.index {
        0 if len == 0 => "0: the log is empty, and there is no snapshot".to_string(),
        0 => format!("log_len is {len}: all entries from 1 to {last} are in the log, none is in a snapshot yet{open}"),
        end if len == 0 => {
            format!("log_len is 0 although commit_idx is {commit}: entries up to {end} are in the snapshot")
        }
        end if len < commit => {
            format!("log_len is {len} although commit_idx is {commit}: entries up to {end} are in the snapshot{open}")
        }
        end => format!(
            "log_len is {len}: entries up to {end} are in the snapshot, those from {} to {last} here{open}",
            end + 1
        ),
    }
}

fn last_applied(view: &View) -> String {
    let status = view.status;
    match status.commit.saturating_sub(status.applied) {
        0 if status.applied == 0 => "0: nothing is committed, so there is nothing to apply".to_string(),
        0 => format!("all that is committed is applied: a GET here shows entries up to {}", status.applied),
        behind => format!("{behind} behind commit_idx: these are being applied now"),
    }
}

fn commit_idx(view: &View) -> String {
    let (status, own) = (view.status, view.status.node);
    let open = match status.last.index.saturating_sub(status.commit) {
        0 => String::new(),
        more => format!("; the {more} behind it up to {} wait for a majority", status.last),
    };
    match (status.role, status.commit) {
        (_, 0) => format!("0: {own} knows of no entry that it is on a majority{open}"),
        (Role::Leader, commit) => format!("a majority of the nodes has entries up to {commit} on disk{open}"),
        (_, commit) => format!("a leader has said that entries up to {commit} are on a majority{open}"),
    }
}

fn term(view: &View) -> String {
    let (status, own) = (view.status, view.status.node);
    match (status.term, status.leader) {
        (0, _) => "0: there has been no election yet".to_string(),
        (term, Some(leader)) => {
            format!(
                "each election raises the term, and {leader} was elected in term {term}: the newest that {own} knows"
            )
        }
        (term, None) => format!("each election raises the term, and {own} knows of none newer than {term}"),
    }
}

fn next_index(view: &View, node: raft_lab::raft::types::NodeId, next: u64) -> String {
    let status = view.status;
    let up = status.peers.iter().any(|(peer, up)| *peer == node && *up);
    let snapshot = status.snapshot.index;
    if next <= snapshot {
        return format!(
            "{node} needs entry {next} next, but entries up to {snapshot} are in the snapshot: it gets that"
        );
    }
    match (up, next > status.last.index) {
        (true, true) => {
            format!("all entries up to {} were sent to {node}: the next one will be {next}", status.last.index)
        }
        (true, false) => {
            format!("the next entry that is sent to {node} is {next}, and the last one is {}", status.last.index)
        }
        (false, _) => {
            format!("{node} is not connected: when it is back, sending begins at {next} or where its log differs")
        }
    }
}

fn match_index(view: &View, node: raft_lab::raft::types::NodeId, matched: u64) -> String {
    let last = view.status.last.index;
    match last.saturating_sub(matched) {
        _ if matched == 0 => {
            format!("0: {node} has acknowledged nothing to {} in term {}", view.status.node, view.status.term)
        }
        0 => format!("{node} has acknowledged all entries up to the last one, {matched}"),
        behind => {
            format!("{node} has acknowledged entries up to {matched}: {behind} of those up to {last} are missing")
        }
    }
}

fn leader_commit(view: &View) -> String {
    let (status, own) = (view.status, view.status.node);
    if status.role == Role::Leader {
        return format!("{own} is the leader, so this is its own commit_idx");
    }
    match status.leader_commit.saturating_sub(status.commit) {
        0 => format!("the highest commit index that {own} has heard of from a leader: its commit_idx has reached it"),
        behind => format!(
            "the highest commit index that {own} has heard of from a leader: its commit_idx is {behind} behind, since it \
             has not got these entries yet"
        ),
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
