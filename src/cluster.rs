//! The members of a cluster and where they listen: `NodeId` → `host:port`. Fixed for the life of a cluster.
//!
//! Three ways to say it, for the node and for the client alike:
//! - a size (`CLUSTER_SIZE`): the convention `node_1:1234` … `node_N:1234`, the names that Compose gives;
//! - `1=host:port,2=host:port,…` (`PEERS`): every node from 1 to N once, in any order;
//! - `host:port,host:port,…` (`CLUSTER`): node 1, node 2, … in this order.
//!
//! Errors are texts that say what was given and what is allowed; the caller puts the name of the setting before them.

use std::collections::BTreeMap;
use std::fmt;

use crate::raft::types::{MAX_CLUSTER_SIZE, NodeId};

/// The TCP port of a node where nothing else is said.
pub const DEFAULT_PORT: u16 = 1234;
/// How many nodes a cluster has where nothing else is said.
pub const DEFAULT_SIZE: u64 = 3;
/// The longest `host` of an address, in bytes (the limit of a DNS name).
pub const MAX_HOST_BYTES: usize = 253;

/// The members, numbered 1 … size without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    members: BTreeMap<NodeId, String>,
}

impl Cluster {
    /// The convention: `node_1:1234` … `node_N:1234`.
    pub fn of_size(size: u64) -> Result<Cluster, String> {
        if size == 0 || size > MAX_CLUSTER_SIZE {
            return Err(format!("expected a number from 1 to {MAX_CLUSTER_SIZE}, got {size}"));
        }
        let members = (1..=size).map(|n| (NodeId(n), format!("{}:{DEFAULT_PORT}", NodeId(n)))).collect();
        Ok(Cluster { members })
    }

    /// The convention for a size as a person wrote it.
    pub fn parse_size(given: &str) -> Result<Cluster, String> {
        let wrong = || format!("expected a number from 1 to {MAX_CLUSTER_SIZE}, got {}", shown(given));
        Cluster::of_size(plain_number(given).ok_or_else(wrong)?).map_err(|_| wrong())
    }

    /// `1=host:port,2=host:port,…` or `host:port,host:port,…`, whichever it is.
    pub fn parse(given: &str) -> Result<Cluster, String> {
        if given.contains('=') { Cluster::parse_numbered(given) } else { Cluster::parse_in_order(given) }
    }

    /// `1=host:port,2=host:port,…`: each node from 1 to N once, in any order.
    pub fn parse_numbered(given: &str) -> Result<Cluster, String> {
        let mut members = BTreeMap::new();
        for part in parts(given)? {
            let Some((number, address)) = part.split_once('=') else {
                return Err(format!("expected NUMBER=host:port, got {}", shown(part)));
            };
            let number = plain_number(number).filter(|n| (1..=MAX_CLUSTER_SIZE).contains(n)).ok_or_else(|| {
                format!("expected a node number from 1 to {MAX_CLUSTER_SIZE} before \"=\", got {}", shown(part))
            })?;
            check_address(address)?;
            if members.insert(NodeId(number), address.to_string()).is_some() {
                return Err(format!("node {number} is named twice in {}", shown(given)));
            }
        }
        let size = members.len() as u64;
        if let Some(missing) = (1..=size).find(|n| !members.contains_key(&NodeId(*n))) {
            return Err(format!(
                "expected every node from 1 to {size}, but node {missing} is missing in {}",
                shown(given)
            ));
        }
        distinct(members)
    }

    /// `host:port,host:port,…`: node 1, node 2, … in this order.
    pub fn parse_in_order(given: &str) -> Result<Cluster, String> {
        let mut members = BTreeMap::new();
        for (address, number) in parts(given)?.into_iter().zip(1..) {
            check_address(address)?;
            members.insert(NodeId(number), address.to_string());
        }
        distinct(members)
    }

    /// How many members: 1 … [`MAX_CLUSTER_SIZE`].
    pub fn size(&self) -> u64 {
        self.members.len() as u64
    }

    /// The members in the order of their numbers.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.members.iter().map(|(node, address)| (*node, address.as_str()))
    }

    /// All members but `node`.
    pub fn others(&self, node: NodeId) -> impl Iterator<Item = (NodeId, &str)> {
        self.members().filter(move |(other, _)| *other != node)
    }

    /// `host:port` of a member; none for a number outside the cluster.
    pub fn address(&self, node: NodeId) -> Option<&str> {
        self.members.get(&node).map(String::as_str)
    }

    /// The port of a member, [`DEFAULT_PORT`] for a number outside the cluster.
    pub fn port(&self, node: NodeId) -> u16 {
        let port =
            self.address(node).and_then(|address| address.rsplit_once(':')).and_then(|(_, port)| port.parse().ok());
        port.unwrap_or(DEFAULT_PORT)
    }
}

/// `1=host:port,2=host:port,…`: what [`Cluster::parse`] understands.
impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (node, address) in &self.members {
            let comma = if node.0 == 1 { "" } else { "," };
            write!(f, "{comma}{}={address}", node.0)?;
        }
        Ok(())
    }
}

/// Checks `host:port`; an IPv6 address stands in brackets, `[::1]:1234`. It resolves nothing.
pub fn check_address(given: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("expected host:port{what}, got {}", shown(given)));
    let Some((host, port)) = given.rsplit_once(':') else {
        return wrong("");
    };
    if plain_number(port).is_none_or(|port| port == 0 || port > u64::from(u16::MAX)) {
        return wrong(" with a port from 1 to 65535");
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let allowed = match bare {
        Some(bare) => bare.bytes().all(|b| b.is_ascii_alphanumeric() || b":.%".contains(&b)),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
    };
    if !allowed && bare.is_none() && host.contains(':') {
        return wrong(" with an IPv6 address in brackets");
    }
    if !allowed || bare.unwrap_or(host).is_empty() || host.len() > MAX_HOST_BYTES {
        return wrong(" with a name or an address as the host");
    }
    Ok(())
}

fn parts(given: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<&str> = given.split(',').map(str::trim).collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!("expected host:port,host:port,… with nothing empty, got {}", shown(given)));
    }
    if parts.len() as u64 > MAX_CLUSTER_SIZE {
        return Err(format!("expected at most {MAX_CLUSTER_SIZE} nodes, got {} in {}", parts.len(), shown(given)));
    }
    Ok(parts)
}

/// Two nodes at one address would make a cluster that cannot work and does not say why.
fn distinct(members: BTreeMap<NodeId, String>) -> Result<Cluster, String> {
    for (node, address) in &members {
        if let Some((first, _)) = members.range(..node).find(|(_, other)| *other == address) {
            return Err(format!("node {} and node {} have the same address {address}", first.0, node.0));
        }
    }
    Ok(Cluster { members })
}

/// Decimal digits without sign or leading zeros.
pub fn plain_number(given: &str) -> Option<u64> {
    let plain =
        !given.is_empty() && given.bytes().all(|b| b.is_ascii_digit()) && (given == "0" || !given.starts_with('0'));
    if plain { given.parse().ok() } else { None }
}

/// What was given, quoted on one line and not too long.
pub fn shown(given: &str) -> String {
    const MOST: usize = 100;
    if given.chars().count() <= MOST {
        return format!("{given:?}");
    }
    format!("{:?}…", given.chars().take(MOST).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_convention() {
        let cluster = Cluster::of_size(3).unwrap();
        let members: Vec<_> = cluster.members().collect();
        assert_eq!(members, [(NodeId(1), "node_1:1234"), (NodeId(2), "node_2:1234"), (NodeId(3), "node_3:1234")]);
        assert_eq!(cluster.to_string(), "1=node_1:1234,2=node_2:1234,3=node_3:1234");
        assert_eq!(Cluster::parse_size("3"), Ok(cluster));
    }

    #[test]
    fn both_lists_mean_the_same() {
        let numbered = Cluster::parse("2=b:2, 1=[::1]:1").unwrap();
        assert_eq!(numbered, Cluster::parse("[::1]:1,b:2").unwrap());
        assert_eq!(numbered, Cluster::parse(&numbered.to_string()).unwrap());
        assert_eq!(numbered.address(NodeId(2)), Some("b:2"));
        assert_eq!(numbered.port(NodeId(1)), 1);
        assert_eq!(numbered.others(NodeId(1)).collect::<Vec<_>>(), [(NodeId(2), "b:2")]);
    }

    #[test]
    fn errors_say_what_was_given_and_what_is_allowed() {
        for (given, error) in [
            ("", r#"expected host:port,host:port,… with nothing empty, got """#),
            ("a:1,", r#"expected host:port,host:port,… with nothing empty, got "a:1,""#),
            ("a", r#"expected host:port, got "a""#),
            ("a:0", r#"expected host:port with a port from 1 to 65535, got "a:0""#),
            ("a:65536", r#"expected host:port with a port from 1 to 65535, got "a:65536""#),
            ("a:+1", r#"expected host:port with a port from 1 to 65535, got "a:+1""#),
            (":1", r#"expected host:port with a name or an address as the host, got ":1""#),
            ("a b:1", r#"expected host:port with a name or an address as the host, got "a b:1""#),
            ("::1:1", r#"expected host:port with an IPv6 address in brackets, got "::1:1""#),
            ("a:1,a:1", "node 1 and node 2 have the same address a:1"),
            ("1=a:1,1=b:1", r#"node 1 is named twice in "1=a:1,1=b:1""#),
            ("1=a:1,3=b:1", r#"expected every node from 1 to 2, but node 2 is missing in "1=a:1,3=b:1""#),
            ("0=a:1", r#"expected a node number from 1 to 9 before "=", got "0=a:1""#),
            ("1=a:1,b:1", r#"expected NUMBER=host:port, got "b:1""#),
        ] {
            assert_eq!(Cluster::parse(given), Err(error.to_string()), "{given}");
        }
        for given in ["0", "10", "-1", "+3", "03", "3 ", "", "99999999999999999999"] {
            let error = Cluster::parse_size(given).unwrap_err();
            assert_eq!(error, format!("expected a number from 1 to 9, got {given:?}"));
        }
        assert!(Cluster::parse(&["a:1"; 10].join(",")).unwrap_err().starts_with("expected at most 9 nodes, got 10"));
    }
}
