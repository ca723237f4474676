//! `/admin/status`: how a node is, under the names that the assignment's report shows (those of PySyncObj).

use raft_lab::cluster::Cluster;
use raft_lab::raft::types::{NodeId, Role};
use raft_lab::wire::client::NodeStatus;

use crate::json::Json;

/// One line of the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Version,
    Revision,
    Itself,
    State,
    Leader,
    HasQuorum,
    PartnerCount,
    /// Whether this partner is connected.
    Partner(NodeId, bool),
    ReadonlyCount,
    LogLen,
    LastApplied,
    CommitIdx,
    RaftTerm,
    NextCount,
    /// `next_index` of this partner.
    Next(NodeId, u64),
    MatchCount,
    /// `match_index` of this partner.
    Match(NodeId, u64),
    LeaderCommitIdx,
    Uptime,
    SelfCodeVersion,
    EnabledCodeVersion,
}

/// A node's status, and where its cluster is.
pub struct View<'a> {
    pub status: &'a NodeStatus,
    pub cluster: &'a Cluster,
}

impl View<'_> {
    /// All that is shown of this node, in the report's order.
    pub fn fields(&self) -> Vec<Field> {
        let NodeStatus { peers, progress, .. } = self.status;
        let mut fields = vec![
            Field::Version,
            Field::Revision,
            Field::Itself,
            Field::State,
            Field::Leader,
            Field::HasQuorum,
            Field::PartnerCount,
        ];
        fields.extend(peers.iter().map(|(node, up)| Field::Partner(*node, *up)));
        fields.extend([
            Field::ReadonlyCount,
            Field::LogLen,
            Field::LastApplied,
            Field::CommitIdx,
            Field::RaftTerm,
            Field::NextCount,
        ]);
        fields.extend(progress.iter().map(|(node, next, _)| Field::Next(*node, *next)));
        fields.push(Field::MatchCount);
        fields.extend(progress.iter().map(|(node, _, matched)| Field::Match(*node, *matched)));
        fields.extend([Field::LeaderCommitIdx, Field::Uptime, Field::SelfCodeVersion, Field::EnabledCodeVersion]);
        fields
    }

    pub fn name(&self, field: Field) -> String {
        let of = |what: &str, node| format!("{what}_server_{}", self.place(node));
        match field {
            Field::Version => "version".to_string(),
            Field::Revision => "revision".to_string(),
            Field::Itself => "self".to_string(),
            Field::State => "state".to_string(),
            Field::Leader => "leader".to_string(),
            Field::HasQuorum => "has_quorum".to_string(),
            Field::PartnerCount => "partner_nodes_count".to_string(),
            Field::Partner(node, _) => of("partner_node_status", node),
            Field::ReadonlyCount => "readonly_nodes_count".to_string(),
            Field::LogLen => "log_len".to_string(),
            Field::LastApplied => "last_applied".to_string(),
            Field::CommitIdx => "commit_idx".to_string(),
            Field::RaftTerm => "raft_term".to_string(),
            Field::NextCount => "next_node_idx_count".to_string(),
            Field::Next(node, _) => of("next_node_idx", node),
            Field::MatchCount => "match_idx_count".to_string(),
            Field::Match(node, _) => of("match_idx", node),
            Field::LeaderCommitIdx => "leader_commit_idx".to_string(),
            Field::Uptime => "uptime".to_string(),
            Field::SelfCodeVersion => "self_code_version".to_string(),
            Field::EnabledCodeVersion => "enabled_code_version".to_string(),
        }
    }

    pub fn value(&self, field: Field) -> Json {
        let status = self.status;
        match field {
            Field::Version => Json::string(env!("CARGO_PKG_VERSION")),
            Field::Revision => Json::string("deprecated"),
            Field::Itself => Json::string(self.place(status.node)),
            Field::State => state(status.role).into(),
            Field::Leader => status.leader.map_or(Json::Null, |leader| Json::string(self.place(leader))),
            Field::HasQuorum => self.has_quorum().into(),
            Field::PartnerCount => (status.peers.len() as u64).into(),
            Field::Partner(_, up) => (if up { 2 } else { 0 }).into(),
            Field::ReadonlyCount | Field::SelfCodeVersion | Field::EnabledCodeVersion => 0.into(),
            Field::LogLen => status.log_len.into(),
            Field::LastApplied => status.applied.into(),
            Field::CommitIdx => status.commit.into(),
            Field::RaftTerm => status.term.into(),
            Field::NextCount | Field::MatchCount => (status.progress.len() as u64).into(),
            Field::Next(_, index) | Field::Match(_, index) => index.into(),
            Field::LeaderCommitIdx => status.leader_commit.into(),
            Field::Uptime => status.uptime.as_secs().into(),
        }
    }

    pub fn json(&self) -> Json {
        Json::members(self.fields().into_iter().map(|field| (self.name(field), self.value(field))))
    }

    /// `node_2:1234`: the name of the node and its port.
    pub fn place(&self, node: NodeId) -> String {
        format!("{node}:{}", self.cluster.port(node))
    }

    /// How many nodes are connected, this one included.
    pub fn connected(&self) -> usize {
        1 + self.status.peers.iter().filter(|(_, up)| *up).count()
    }

    /// Whether those are a majority.
    pub fn has_quorum(&self) -> bool {
        self.connected() > self.cluster_size() / 2
    }

    pub fn cluster_size(&self) -> usize {
        1 + self.status.peers.len()
    }
}

/// 0 follower, 1 candidate (a pre-candidate is one, too), 2 leader.
fn state(role: Role) -> u64 {
    match role {
        Role::Follower => 0,
        Role::PreCandidate | Role::Candidate => 1,
        Role::Leader => 2,
    }
}
