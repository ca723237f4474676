//! The settings of a node: each is a flag and an environment variable, and the flag wins.
//!
//! One table, `SETTINGS`, holds them all; reading, checking and `--help` go by it. Every error is one line that
//! names the flag or the variable, what was given and what is allowed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::{Cluster, DEFAULT_SIZE, check_address, plain_number, shown};
use crate::raft::types::{MAX_CLUSTER_SIZE, NodeId};

/// The bounds of an election timeout, in milliseconds: below, threads wake too late for it; above, nobody waits.
pub const ELECTION_TIMEOUT_LIMITS_MS: (u64, u64) = (50, 600_000);
/// The bounds of the heartbeat interval, in milliseconds.
pub const HEARTBEAT_LIMITS_MS: (u64, u64) = (10, 300_000);
/// The bounds of the log that is kept before a snapshot takes its place, in bytes.
pub const SNAPSHOT_LOG_LIMITS_BYTES: (u64, u64) = (256, 1024 * 1024 * 1024);
/// Its default: 4 MiB.
pub const SNAPSHOT_LOG_BYTES: u64 = 4 * 1024 * 1024;
/// The longest value of a setting, in bytes.
pub const MAX_VALUE_BYTES: usize = 4096;

/// When the log has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set and not empty.
    Auto,
    Always,
    Never,
}

/// What a node is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub id: NodeId,
    pub cluster: Cluster,
    /// `host:port` to listen at.
    pub listen: String,
    pub data_dir: PathBuf,
    /// The election timeout is drawn uniformly between these, anew each time (§5.2).
    pub election_timeout: (Duration, Duration),
    pub heartbeat_interval: Duration,
    /// Thesis §9.6. Off: the paper's plain protocol.
    pub pre_vote: bool,
    /// A log on disk that is longer than this, in bytes, and than the snapshot before it, is compacted (§7).
    pub snapshot_log_bytes: u64,
    pub color: Color,
    /// Clients may order faults (`wire::fault`).
    pub faults: bool,
    /// End when standard input closes: for programs that start nodes.
    pub stop_with_stdin: bool,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Run(Box<Settings>),
    /// `--help`, `--version`: print this and end with exit code 0.
    Print(String),
}

/// One row of the table of settings.
struct Setting {
    flag: &'static str,
    variable: &'static str,
    /// What the value looks like, in `--help` and in errors.
    value: &'static str,
    default: &'static str,
    help: &'static str,
}

const SETTINGS: [Setting; 11] = [
    Setting {
        flag: "--id",
        variable: "NODE_ID",
        value: "N",
        default: "required",
        help: "the number of this node, 1 to the cluster size; `node 1` is short for `node --id 1`",
    },
    Setting {
        flag: "--cluster-size",
        variable: "CLUSTER_SIZE",
        value: "N",
        default: "3",
        help: "1 to 9 members, found at node_1:1234 … node_N:1234",
    },
    Setting {
        flag: "--peers",
        variable: "PEERS",
        value: "1=HOST:PORT,2=HOST:PORT,…",
        default: "from the size",
        help: "where every member is, this node included; replaces node_1:1234 …",
    },
    Setting {
        flag: "--listen",
        variable: "LISTEN",
        value: "HOST:PORT",
        default: "0.0.0.0:own port",
        help: "where this node listens, for the other nodes and for clients",
    },
    Setting {
        flag: "--data-dir",
        variable: "DATA_DIR",
        value: "DIRECTORY",
        default: "data/node_<id>",
        help: "where this node keeps its term, its vote and its log; made if it is not there",
    },
    Setting {
        flag: "--election-timeout-ms",
        variable: "ELECTION_TIMEOUT_MS",
        value: "LOW-HIGH",
        default: "6000-10000",
        help: "without a leader for so many milliseconds, drawn anew each time, it asks for votes",
    },
    Setting {
        flag: "--heartbeat-interval-ms",
        variable: "HEARTBEAT_INTERVAL_MS",
        value: "MS",
        default: "2000",
        help: "a leader says so often that it is alive; twice this must be less than LOW above",
    },
    Setting {
        flag: "--pre-vote",
        variable: "PRE_VOTE",
        value: "on|off",
        default: "on",
        help: "ask whether an election could be won before starting one; off: the plain protocol",
    },
    Setting {
        flag: "--snapshot-log-bytes",
        variable: "SNAPSHOT_LOG_BYTES",
        value: "BYTES",
        default: "4194304",
        help: "a log on disk longer than this, and than the snapshot before it, becomes a new snapshot",
    },
    Setting {
        flag: "--faults",
        variable: "FAULTS",
        value: "on|off",
        default: "off",
        help: "on: whoever reaches the port may break this node on purpose: see `client fault --help`",
    },
    Setting {
        flag: "--color",
        variable: "COLOR",
        value: "auto|always|never",
        default: "auto",
        help: "colours in the log; auto: on a terminal, unless NO_COLOR is set",
    },
];

const STOP_WITH_STDIN: &str = "--stop-with-stdin";

/// Reads the command line (without the program's name) and the environment. An empty variable counts as not set:
/// that is how Compose passes on what is not there. The error is one line; the exit code for it is 2.
pub fn read(args: &[String], environment: impl Fn(&str) -> Option<String>) -> Result<Wanted, String> {
    let mut flags: BTreeMap<&'static str, String> = BTreeMap::new();
    let mut stop_with_stdin = false;
    let mut rest = args.iter();
    let mut first = true;
    while let Some(arg) = rest.next() {
        let at_start = std::mem::take(&mut first);
        match arg.as_str() {
            "--help" | "-h" | "help" => return Ok(Wanted::Print(help())),
            "--version" | "-V" => return Ok(Wanted::Print(format!("node (raft-lab) {}\n", env!("CARGO_PKG_VERSION")))),
            STOP_WITH_STDIN => stop_with_stdin = true,
            word if at_start && !word.starts_with('-') => {
                flags.insert("--id", word.to_string());
            }
            other => {
                let (name, inline) = match other.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_string())),
                    None => (other, None),
                };
                let setting = find(name)?;
                let value = match inline {
                    Some(value) => value,
                    None => match rest.next() {
                        Some(value) if !value.starts_with("--") => value.clone(),
                        _ => return Err(format!("{name} needs a value: {} {}", setting.flag, setting.value)),
                    },
                };
                if flags.insert(setting.flag, value).is_some() {
                    return Err(format!("{name} is given twice; once is enough"));
                }
            }
        }
    }
    let given = Given { flags, environment: &environment };
    check(&given, stop_with_stdin).map(|settings| Wanted::Run(Box::new(settings)))
}

fn find(name: &str) -> Result<&'static Setting, String> {
    SETTINGS.iter().find(|setting| setting.flag == name).ok_or_else(|| {
        let all: Vec<&str> = SETTINGS.iter().map(|setting| setting.flag).collect();
        let what = if name.starts_with('-') { "flag" } else { "word" };
        format!("unknown {what} {}; allowed are {}, --help, --version", shown(name), all.join(", "))
    })
}

/// The values as they were given.
struct Given<'a> {
    flags: BTreeMap<&'static str, String>,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Given<'_> {
    /// The value of a setting and the name under which it was given, flag or variable.
    fn get(&self, flag: &'static str) -> Result<Option<(&'static str, String)>, String> {
        let variable = SETTINGS.iter().find(|setting| setting.flag == flag).map_or("", |setting| setting.variable);
        let found = match self.flags.get(flag) {
            Some(value) => Some((flag, value.clone())),
            None => (self.environment)(variable).filter(|value| !value.is_empty()).map(|value| (variable, value)),
        };
        if let Some((name, value)) = &found
            && (value.len() > MAX_VALUE_BYTES || value.contains(char::is_control))
        {
            return Err(format!(
                "{name}: expected at most {MAX_VALUE_BYTES} bytes without control characters, got {}",
                shown(value)
            ));
        }
        Ok(found)
    }

    /// Reads a setting with `read`, whose error gets the name before it.
    fn read<T>(
        &self,
        flag: &'static str,
        default: T,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(T, &'static str), String> {
        match self.get(flag)? {
            Some((name, value)) => match read(&value) {
                Ok(value) => Ok((value, name)),
                Err(error) => Err(format!("{name}: {error}")),
            },
            None => Ok((default, flag)),
        }
    }
}

fn check(given: &Given, stop_with_stdin: bool) -> Result<Settings, String> {
    let cluster = cluster(given)?;
    let size = cluster.size();
    let wanted = format!("expected a number from 1 to {size} (the cluster size)");
    let Some((name, id)) = given.get("--id")? else {
        return Err(format!("--id (or NODE_ID) is required: {wanted}, for example `node 1`"));
    };
    let id = match plain_number(&id) {
        Some(id) if (1..=size).contains(&id) => NodeId(id),
        _ => return Err(format!("{name}: {wanted}, got {}", shown(&id))),
    };
    let (listen, _) = given.read("--listen", format!("0.0.0.0:{}", cluster.port(id)), |value| {
        check_address(value).map(|()| value.to_string())
    })?;
    let (data_dir, _) = given.read("--data-dir", PathBuf::from(format!("data/{id}")), |value| match value {
        "" => Err("expected a directory, got \"\"".to_string()),
        _ => Ok(PathBuf::from(value)),
    })?;
    let (election_timeout, election_name) = given.read("--election-timeout-ms", (6000, 10000), election_timeout)?;
    let (heartbeat, heartbeat_name) = given.read("--heartbeat-interval-ms", 2000, |value| {
        let (low, high) = HEARTBEAT_LIMITS_MS;
        in_limits(value, HEARTBEAT_LIMITS_MS)
            .ok_or_else(|| format!("expected milliseconds from {low} to {high}, got {}", shown(value)))
    })?;
    if heartbeat * 2 >= election_timeout.0 {
        return Err(format!(
            "{heartbeat_name}: twice the heartbeat interval must be less than the lower bound of {election_name}, \
             got {heartbeat} ms and {} ms: one lost heartbeat must not start an election",
            election_timeout.0
        ));
    }
    let (pre_vote, _) = given.read("--pre-vote", true, on_or_off)?;
    let (faults, _) = given.read("--faults", false, on_or_off)?;
    let (snapshot_log_bytes, _) = given.read("--snapshot-log-bytes", SNAPSHOT_LOG_BYTES, |value| {
        let (low, high) = SNAPSHOT_LOG_LIMITS_BYTES;
        in_limits(value, SNAPSHOT_LOG_LIMITS_BYTES)
            .ok_or_else(|| format!("expected bytes from {low} to {high}, got {}", shown(value)))
    })?;
    let (color, _) = given.read("--color", Color::Auto, |value| match value {
        "auto" => Ok(Color::Auto),
        "always" => Ok(Color::Always),
        "never" => Ok(Color::Never),
        _ => Err(format!("expected auto, always or never, got {}", shown(value))),
    })?;
    Ok(Settings {
        id,
        cluster,
        listen,
        data_dir,
        election_timeout: (Duration::from_millis(election_timeout.0), Duration::from_millis(election_timeout.1)),
        heartbeat_interval: Duration::from_millis(heartbeat),
        pre_vote,
        snapshot_log_bytes,
        color,
        faults,
        stop_with_stdin,
    })
}

fn cluster(given: &Given) -> Result<Cluster, String> {
    let convention = Cluster::of_size(DEFAULT_SIZE)?;
    let size_given = given.get("--cluster-size")?.is_some();
    let (by_size, size_name) = given.read("--cluster-size", convention, Cluster::parse_size)?;
    let size = by_size.size();
    let peers_given = given.get("--peers")?.is_some();
    let (cluster, peers_name) = given.read("--peers", by_size, Cluster::parse_numbered)?;
    if peers_given && size_given && cluster.size() != size {
        return Err(format!(
            "{peers_name}: expected {size} members, as {size_name} says, got {}; leave one of the two out",
            cluster.size()
        ));
    }
    Ok(cluster)
}

fn election_timeout(value: &str) -> Result<(u64, u64), String> {
    let (least, most) = ELECTION_TIMEOUT_LIMITS_MS;
    let bounds = value.split_once('-').and_then(|(low, high)| {
        Some((in_limits(low, ELECTION_TIMEOUT_LIMITS_MS)?, in_limits(high, ELECTION_TIMEOUT_LIMITS_MS)?))
    });
    // Equal bounds would make every election a split vote (§5.2).
    bounds.filter(|(low, high)| low < high).ok_or_else(|| {
        format!("expected LOW-HIGH in milliseconds, {least} <= LOW < HIGH <= {most}, got {}", shown(value))
    })
}

fn on_or_off(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("expected on or off, got {}", shown(value))),
    }
}

fn in_limits(value: &str, (least, most): (u64, u64)) -> Option<u64> {
    plain_number(value).filter(|number| (least..=most).contains(number))
}

impl Settings {
    /// The times as the START line tells them: `election timeout 6-10 s, heartbeat every 2 s`.
    pub fn told(&self) -> String {
        let (low, high) = (self.election_timeout.0.as_millis(), self.election_timeout.1.as_millis());
        let range = if low.is_multiple_of(1000) && high.is_multiple_of(1000) {
            format!("{}-{} s", low / 1000, high / 1000)
        } else {
            format!("{low}-{high} ms")
        };
        let beat = self.heartbeat_interval.as_millis();
        let beat = if beat.is_multiple_of(1000) { format!("{} s", beat / 1000) } else { format!("{beat} ms") };
        let plain = if self.pre_vote { "" } else { ", pre-vote off" };
        format!("election timeout {range}, heartbeat every {beat}{plain}")
    }
}

fn help() -> String {
    let mut text = String::from(
        "node: one member of a Raft cluster that keeps a replicated log of strings, and lists under keys\n\
         \n\
         usage: node N [FLAG VALUE]…      for example: node 1\n\
         \n\
         Each setting is a flag (--id 1 or --id=1) and an environment variable; the flag wins.\n",
    );
    for setting in &SETTINGS {
        let left = format!("{} {}", setting.flag, setting.value);
        let right = format!("{}, default {}", setting.variable, setting.default);
        let right = if setting.default == "required" { format!("{}, required", setting.variable) } else { right };
        text.push_str(&format!("\n  {left:<34} {right}\n      {}\n", setting.help));
    }
    text.push_str(&format!(
        "\n  {STOP_WITH_STDIN}\n      end when standard input closes: for programs that start nodes and leave none behind\n\
         \n  --help, --version\n\
         \n\
         Exit codes: 1 the node had to end (standard error says why), 2 a wrong setting.\n\
         A cluster has at most {MAX_CLUSTER_SIZE} members; an odd number is best. Three nodes on one machine:\n\
         \n  P=1=127.0.0.1:7001,2=127.0.0.1:7002,3=127.0.0.1:7003\n  \
         node 1 --peers $P & node 2 --peers $P & node 3 --peers $P\n\
         \n\
         or, in one command, `client cluster`. Then: echo 'append \"hello\"' | nc -N 127.0.0.1 7001\n"
    ));
    text
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
