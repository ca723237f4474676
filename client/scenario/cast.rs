//! Who plays: nodes of this program's own, as processes on loopback, or a cluster that the user names.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use raft_lab::cluster::Cluster;
use raft_lab::raft::types::NodeId;
use raft_lab::text::random::Random;
use raft_lab::wire::client::{Answer, Request};

use crate::connection::{ATTEMPT, Connection};
use crate::lines::Line;
use crate::output::Failure;
use crate::process::{News, Process, program};

/// The most lines that wait to be heard; beyond that the nodes wait.
const QUEUE: usize = 20_000;
/// Ports of own nodes: below those from which outgoing connections get theirs (a node that comes back must find its
/// port free), in blocks, the first of which is held as long as the scenario lasts.
const FIRST_PORT: u16 = 30_000;
const BLOCK: u16 = 10;
const BLOCKS: u64 = 270;
/// A watched node that is gone is looked for again so often.
const RETRY: Duration = Duration::from_millis(20);

/// What is heard of the nodes.
pub enum Heard {
    Line(NodeId, Line),
    /// The process with this number has ended, and all that it printed was heard.
    Ended(NodeId, u32),
    /// A watched node's lines are missing from here on, until it is found again.
    Lost(NodeId),
    Found(NodeId),
}

impl From<News> for Heard {
    fn from(news: News) -> Heard {
        match news {
            News::Line(node, line) => Heard::Line(node, line),
            News::Ended(node, process) => Heard::Ended(node, process),
        }
    }
}

pub struct Cast {
    pub cluster: Cluster,
    own: Option<Own>,
    heard: Receiver<Heard>,
    sender: SyncSender<Heard>,
}

/// What own nodes need.
struct Own {
    program: PathBuf,
    settings: Vec<String>,
    /// They end before their data goes.
    processes: BTreeMap<NodeId, Process>,
    data: TempFolder,
    _block: TcpListener,
}

/// A folder that goes with its owner.
struct TempFolder(PathBuf);

impl Drop for TempFolder {
    fn drop(&mut self) {
        // What is left behind is under the system's temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Cast {
    /// `size` nodes of its own with these settings, none of which runs yet.
    pub fn own(size: u64, settings: Vec<String>) -> Result<Cast, Failure> {
        let program = program::find()?;
        let mut random = Random::from_os();
        let (block, cluster) = (0..2 * BLOCKS).find_map(|_| free_block(&mut random, size)).ok_or_else(|| {
            let last = FIRST_PORT + BLOCK * BLOCKS as u16;
            Failure::NotDone(format!("no {size} ports in a row are free on 127.0.0.1 from {FIRST_PORT} to {last}"))
        })?;
        let data = env::temp_dir().join(format!("raft-lab-{:016x}", random.next_u64()));
        fs::create_dir_all(&data)
            .map_err(|error| Failure::NotDone(format!("cannot make {}: {error}", data.display())))?;
        let (data, processes) = (TempFolder(data), BTreeMap::new());
        let (sender, heard) = sync_channel(QUEUE);
        Ok(Cast { cluster, own: Some(Own { program, data, settings, processes, _block: block }), heard, sender })
    }

    /// The nodes of a cluster that runs; their lines are heard from now on.
    pub fn given(cluster: &Cluster) -> Result<Cast, Failure> {
        let (sender, heard) = sync_channel(QUEUE);
        for (node, address) in cluster.members() {
            let connection = watch(address)
                .map_err(|why| Failure::NotDone(format!("{node} ({address}) cannot be watched: {why}")))?;
            let (sender, address) = (sender.clone(), address.to_string());
            thread::spawn(move || follow(node, &address, connection, &sender));
        }
        Ok(Cast { cluster: cluster.clone(), own: None, heard, sender })
    }

    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        self.cluster.members().map(|(node, _)| node).collect()
    }

    /// The next that is heard, if anything is within this time.
    pub fn hear(&self, limit: Duration) -> Option<Heard> {
        // This side holds a sender too, so the channel never closes.
        self.heard.recv_timeout(limit).ok()
    }

    /// Starts an own node that does not run.
    pub fn start(&mut self, node: NodeId) -> Result<(), Failure> {
        let listen = self.cluster.address(node).unwrap_or_default();
        let Some(own) = &mut self.own else { return Ok(()) };
        let mut arguments = vec![
            format!("--id={}", node.0),
            format!("--cluster-size={}", self.cluster.size()),
            format!("--peers={}", self.cluster),
            format!("--listen={listen}"),
            format!("--data-dir={}", own.data.0.join(node.to_string()).display()),
            "--color=never".to_string(),
            "--stop-with-stdin".to_string(),
        ];
        arguments.extend(own.settings.iter().cloned());
        let process = Process::start(node, &own.program, arguments, self.sender.clone())?;
        own.processes.insert(node, process);
        Ok(())
    }

    /// `kill -9` of an own node; the number of its process.
    pub fn kill(&mut self, node: NodeId) -> Option<u32> {
        let process = self.own.as_mut()?.processes.get_mut(&node)?;
        process.kill();
        Some(process.pid())
    }

    /// Whether an own process of this node runs, or has not been taken away yet.
    pub fn has(&self, node: NodeId) -> bool {
        self.own.as_ref().is_some_and(|own| own.processes.contains_key(&node))
    }

    /// Takes an own process that has ended away; how it ended, if that was not by [`Cast::kill`].
    pub fn ended(&mut self, node: NodeId, process: u32) -> Option<String> {
        let own = self.own.as_mut()?;
        // One that was killed and started again in one breath runs as another process by now.
        own.processes.get(&node).filter(|current| current.pid() == process)?;
        let mut gone = own.processes.remove(&node)?;
        let expected = !gone.is_running();
        let how = gone.reap();
        (!expected).then_some(how)
    }
}

/// Ports that nobody has: the first is held, those behind it are for the nodes.
fn free_block(random: &mut Random, size: u64) -> Option<(TcpListener, Cluster)> {
    let first = FIRST_PORT + BLOCK * random.below(BLOCKS) as u16;
    let block = TcpListener::bind(("127.0.0.1", first)).ok()?;
    let ports = (1..=size as u16).map(|node| first + node);
    let addresses: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
    addresses.iter().all(|address| TcpListener::bind(address).is_ok()).then_some(())?;
    Some((block, Cluster::parse_in_order(&addresses.join(",")).ok()?))
}

fn watch(address: &str) -> Result<Connection, String> {
    let mut connection = Connection::open(address, ATTEMPT)?;
    match connection.ask(&Request::Watch, ATTEMPT)? {
        Answer::Watching(_) => Ok(connection),
        Answer::Error { text, .. } => Err(text),
        _ => Err("it answered something else than its events".to_string()),
    }
}

/// Hears one node of a given cluster for ever; ends when nobody listens any more.
fn follow(node: NodeId, address: &str, mut connection: Connection, heard: &SyncSender<Heard>) {
    loop {
        while let Ok(line) = connection.receive_line(None) {
            if heard.send(Heard::Line(node, Line::read(line))).is_err() {
                return;
            }
        }
        if heard.send(Heard::Lost(node)).is_err() {
            return;
        }
        connection = loop {
            thread::sleep(RETRY);
            if let Ok(connection) = watch(address) {
                break connection;
            }
        };
        if heard.send(Heard::Found(node)).is_err() {
            return;
        }
    }
}

/// A file of each node's lines, for `client verify` and `client columns`.
pub fn write_logs(folder: &Path, logs: &BTreeMap<NodeId, String>) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        logs.iter().try_for_each(|(node, text)| fs::write(folder.join(format!("{node}.log")), text))
    };
    write().map_err(|error| Failure::NotDone(format!("cannot write the logs to {}: {error}", folder.display())))
}
