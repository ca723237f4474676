//! Real nodes as processes, for tests: started on loopback with short timers, killed, paused,
//! revived, asked over raw sockets. Everything is freed when the [`Lab`] is dropped, and a test that
//! fails prints the nodes' logs.
#![allow(dead_code)] // each test file uses a part of it

pub mod appender;
pub mod judge;
pub mod played;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raft_lab::raft::types::{EntryId, Role};
use raft_lab::wire::client::{Answer, NodeStatus};

/// How long anything may take before a test calls it broken. Machines that build and test many
/// things at once are slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The timers of the nodes, unless a test sets others.
pub const TIMERS: [(&str, &str); 2] = [("ELECTION_TIMEOUT_MS", "400-800"), ("HEARTBEAT_INTERVAL_MS", "100")];

/// For tests that count, or name terms: no election even if the machine is busy for most of a second.
pub const CALM: [(&str, &str); 2] = [("ELECTION_TIMEOUT_MS", "1200-2000"), ("HEARTBEAT_INTERVAL_MS", "150")];

static COUNTER: AtomicUsize = AtomicUsize::new(0);

/// A directory of its own under the system's temporary one, removed at the end unless the test fails.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("raft-lab-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("kept: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A port on loopback that nobody has, below the range from which outgoing connections get theirs:
/// a node that comes back must find its port free.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many such ports in a row. Nobody else in this process is given one of them.
pub fn free_ports(count: usize) -> u16 {
    loop {
        let number = COUNTER.fetch_add(count, Ordering::Relaxed) + std::process::id() as usize * 61;
        let first = 12_000 + (number % 18_000) as u16;
        if (first..first + count as u16).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}

/// One node's process.
struct Process {
    child: Child,
    /// Held open: the node ends when it closes, so none outlives the tests.
    stdin: Option<ChildStdin>,
    readers: Vec<JoinHandle<()>>,
}

/// A node: its process, if it runs, and all that its processes have printed so far.
struct Node {
    process: Option<Process>,
    lines: Arc<Mutex<Vec<String>>>,
    errors: Arc<Mutex<Vec<String>>>,
    /// The process is stopped, as by a debugger.
    paused: AtomicBool,
}

/// A cluster of real processes.
pub struct Lab {
    nodes: Vec<Node>,
    ports: Vec<u16>,
    dir: TempDir,
    settings: Vec<(String, String)>,
}

impl Lab {
    /// Starts a cluster of `size` nodes, numbered from 1, with [`TIMERS`].
    pub fn start(size: usize) -> Lab {
        Lab::start_with(size, &[])
    }

    /// The same with more settings, as environment variables.
    pub fn start_with(size: usize, settings: &[(&str, &str)]) -> Lab {
        let mut lab = Lab::prepare(size, settings);
        (1..=size).for_each(|node| lab.start_node(node));
        lab
    }

    /// A cluster of which no node runs yet.
    pub fn prepare(size: usize, settings: &[(&str, &str)]) -> Lab {
        let node =
            || Node { process: None, lines: Arc::default(), errors: Arc::default(), paused: AtomicBool::new(false) };
        Lab {
            nodes: (0..size).map(|_| node()).collect(),
            ports: (0..size).map(|_| free_port()).collect(),
            dir: TempDir::new(),
            settings: TIMERS.iter().chain(settings).map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        }
    }

    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// `1=127.0.0.1:…,2=127.0.0.1:…`
    pub fn peers(&self) -> String {
        let members = self.ports.iter().zip(1..).map(|(port, node)| format!("{node}=127.0.0.1:{port}"));
        members.collect::<Vec<_>>().join(",")
    }

    pub fn address(&self, node: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[node - 1]))
    }

    pub fn data_dir(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("node_{node}"))
    }

    /// The command that starts a node, for tests that want something special of it.
    pub fn command(&self, node: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
        command.env_clear().envs(self.settings.iter().map(|(key, value)| (key, value)));
        command.env("PEERS", self.peers()).env("LISTEN", self.address(node).to_string());
        command.env("DATA_DIR", self.data_dir(node)).arg(node.to_string()).arg("--stop-with-stdin");
        command.current_dir(self.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a node that does not run, with the data that it has.
    pub fn start_node(&mut self, node: usize) {
        let command = self.command(node);
        self.start_as(node, command);
    }

    /// The same by a command of the test's own.
    pub fn start_as(&mut self, node: usize, mut command: Command) {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start node {node}: {error}"));
        let place = &mut self.nodes[node - 1];
        assert!(place.process.is_none(), "node {node} runs already");
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|stdout| collect(stdout, &place.lines)));
        readers.extend(child.stderr.take().map(|stderr| collect(stderr, &place.errors)));
        place.process = Some(Process { stdin: child.stdin.take(), child, readers });
    }

    /// `kill -9`, and waits until it is gone and its last line has been read.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut process) = self.nodes[node - 1].process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
            process.readers.into_iter().for_each(|reader| drop(reader.join()));
        }
        self.nodes[node - 1].paused.store(false, Ordering::Relaxed);
    }

    /// Closes the node's standard input, which ends it.
    pub fn stop(&mut self, node: usize) -> ExitStatus {
        self.nodes[node - 1].process.iter_mut().for_each(|process| drop(process.stdin.take()));
        self.wait_for_end(node)
    }

    /// Waits until the node's process ends by itself.
    pub fn wait_for_end(&mut self, node: usize) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(process) = &mut self.nodes[node - 1].process else { panic!("node {node} does not run") };
            if let Ok(Some(status)) = process.child.try_wait() {
                self.kill(node);
                return status;
            }
            if Instant::now() > deadline {
                self.fail(&format!("node {node} did not end"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// How the node's process has ended, if it has: then it runs no longer.
    pub fn ended(&mut self, node: usize) -> Option<ExitStatus> {
        let status = self.nodes[node - 1].process.as_mut()?.child.try_wait().ok()??;
        self.kill(node);
        Some(status)
    }

    /// Is there a process that is not paused?
    pub fn runs(&self, node: usize) -> bool {
        let node = &self.nodes[node - 1];
        node.process.is_some() && !node.paused.load(Ordering::Relaxed)
    }

    /// The numbers of the nodes that run.
    pub fn running(&self) -> Vec<usize> {
        (1..=self.size()).filter(|node| self.runs(*node)).collect()
    }

    /// Stops the process as a debugger does: it is there, and does nothing.
    pub fn pause(&self, node: usize) {
        self.signal(&[node], "-STOP");
    }

    pub fn resume(&self, node: usize) {
        self.resume_all(&[node]);
    }

    /// Lets several go on in the same moment.
    pub fn resume_all(&self, nodes: &[usize]) {
        self.signal(nodes, "-CONT");
    }

    pub fn pid(&self, node: usize) -> u32 {
        self.nodes[node - 1].process.as_ref().map_or_else(|| panic!("node {node} does not run"), |p| p.child.id())
    }

    fn signal(&self, nodes: &[usize], signal: &str) {
        let pids = nodes.iter().map(|node| self.pid(*node).to_string());
        let status = Command::new("kill").arg(signal).args(pids).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal} of {nodes:?}");
        nodes.iter().for_each(|node| self.nodes[*node - 1].paused.store(signal == "-STOP", Ordering::Relaxed));
    }

    /// The node's log so far, of all its lives.
    pub fn lines(&self, node: usize) -> Vec<String> {
        lock(&self.nodes[node - 1].lines).clone()
    }

    /// What the node has written to standard error.
    pub fn errors(&self, node: usize) -> Vec<String> {
        lock(&self.nodes[node - 1].errors).clone()
    }

    /// The lines of a node's log that contain `part`.
    pub fn lines_with(&self, node: usize, part: &str) -> Vec<String> {
        self.lines(node).into_iter().filter(|line| line.contains(part)).collect()
    }

    /// Waits until the node has told as many lines with this part: a line may come a moment after the answer to a client.
    pub fn wait_for_lines(&self, node: usize, part: &str, count: usize) {
        self.wait_until(&format!("{count} lines of node_{node} with {part:?}"), || {
            (self.lines_with(node, part).len() >= count).then_some(())
        });
    }

    /// Opens a connection to a node.
    pub fn connect(&self, node: usize) -> io::Result<Connection> {
        Connection::open(self.address(node))
    }

    /// Sends lines, closes that half of the connection, and returns all lines of the answer.
    pub fn ask(&self, node: usize, lines: &str) -> io::Result<Vec<String>> {
        let mut connection = self.connect(node)?;
        connection.send(lines)?;
        connection.stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        connection.reader.read_to_string(&mut answer)?;
        Ok(answer.lines().map(str::to_string).collect())
    }

    /// Orders a fault and returns the answer's line, without waiting for the connection's end: of a node that
    /// pauses then, it comes late.
    pub fn fault(&self, node: usize, fault: &str) -> io::Result<String> {
        let mut connection = self.connect(node)?;
        connection.send(&format!("fault {fault}"))?;
        connection.line()
    }

    pub fn status(&self, node: usize) -> Option<NodeStatus> {
        let answer = self.ask(node, "status").ok()?;
        match Answer::decode(answer.first()?) {
            Ok(Answer::Status(status)) => Some(status),
            _ => None,
        }
    }

    /// The leader of the newest term, as the nodes themselves see it.
    pub fn leader(&self) -> Option<usize> {
        let running = (1..=self.size()).filter(|node| self.runs(*node));
        let statuses: Vec<NodeStatus> = running.filter_map(|node| self.status(node)).collect();
        let newest = statuses.iter().map(|status| status.term).max()?;
        let leader = statuses.iter().find(|status| status.term == newest && status.role == Role::Leader)?;
        Some(leader.node.0 as usize)
    }

    /// Waits for a leader that a majority follows.
    pub fn wait_for_leader(&self) -> usize {
        self.wait_until("a majority follows a leader", || {
            let leader = self.leader()?;
            let running = (1..=self.size()).filter(|node| self.runs(*node));
            let followed = running.filter_map(|node| self.status(node)).filter_map(|status| status.leader);
            (followed.filter(|node| node.0 as usize == leader).count() > self.size() / 2).then_some(leader)
        })
    }

    /// Tries again and again until there is a result; fails the test, with all logs, after [`PATIENCE`].
    pub fn wait_until<T>(&self, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            if Instant::now() > deadline {
                self.fail(&format!("waited {} s in vain: {what}", PATIENCE.as_secs()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Appends a string exactly once, however often it has to ask, and returns its place.
    pub fn append(&self, text: &str) -> EntryId {
        let running = || (1..=self.size()).filter(|node| self.runs(*node));
        let session = self.wait_until("a session", || {
            running()
                .find_map(|node| self.ask(node, "session").ok()?.first()?.strip_prefix("session ").map(str::to_string))
        });
        let request = format!("append {session} 1 {}", raft_lab::text::quote(text));
        self.wait_until(&format!("{request} is committed"), || {
            running().find_map(|node| match Answer::decode(self.ask(node, &request).ok()?.first()?) {
                Ok(Answer::Appended(id)) => Some(id),
                _ => None,
            })
        })
    }

    /// The committed strings as one node knows them, a line each: `2@1 "SET 5"`.
    pub fn log(&self, node: usize) -> Option<Vec<String>> {
        let (mut log, mut from) = (Vec::new(), 1);
        loop {
            let mut page = self.ask(node, &format!("log from={from} local")).ok()?;
            let Ok(Answer::End { next, commit }) = Answer::decode(&page.pop()?) else { return None };
            log.append(&mut page);
            if next > commit {
                return Some(log);
            }
            from = next;
        }
    }

    /// Waits until all running nodes have applied the same entries, and returns the strings.
    pub fn wait_for_equal_logs(&self) -> Vec<String> {
        self.wait_until("all nodes have the same log", || {
            let running = (1..=self.size()).filter(|node| self.runs(*node));
            let applied: Option<Vec<NodeStatus>> = running.map(|node| self.status(node)).collect();
            let applied = applied?;
            let first = applied.first()?;
            let equal = applied.iter().all(|status| status.applied == first.last.index && status.last == first.last);
            if !equal {
                return None;
            }
            let logs: Option<Vec<Vec<String>>> = applied.iter().map(|s| self.log(s.node.0 as usize)).collect();
            let mut logs = logs?;
            let last = logs.pop()?;
            logs.iter().all(|log| *log == last).then_some(last)
        })
    }

    /// Fails the test, with the end of what all nodes have printed.
    pub fn fail(&self, why: &str) -> ! {
        panic!("{why}\n{}", self.story());
    }

    /// The end of the logs of all nodes as one, in the order of their times, without heartbeats. (A test
    /// that fails leaves the whole in `all.log`.)
    pub fn story(&self) -> String {
        const LINES: usize = 300;
        let all = self.whole_story();
        let lines: Vec<&str> = all.lines().filter(|line| !line.contains(" HEARTBEAT ")).collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    fn whole_story(&self) -> String {
        let mut lines: Vec<String> = (1..=self.size()).flat_map(|node| self.lines(node)).collect();
        lines.sort();
        for node in 1..=self.size() {
            lines.extend(self.errors(node).into_iter().map(|line| format!("standard error of node {node}: {line}")));
        }
        lines.join("\n")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        (1..=self.size()).for_each(|node| self.kill(node));
        if thread::panicking() {
            // Beside the data, which stays too.
            let _ = std::fs::write(self.dir.path().join("all.log"), self.whole_story());
        }
    }
}

fn collect(stream: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lock(&lines).push(line);
        }
    })
}

fn lock(lines: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(|e| e.into_inner())
}

/// One raw connection to a node.
pub struct Connection {
    pub stream: TcpStream,
    pub reader: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Connection { reader: BufReader::new(stream.try_clone()?), stream })
    }

    /// Sends lines; adds the last newline if it is missing.
    pub fn send(&mut self, lines: &str) -> io::Result<()> {
        let end = if lines.ends_with('\n') { "" } else { "\n" };
        self.stream.write_all(format!("{lines}{end}").as_bytes())
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next line, without its newline; empty at the end of the stream.
    pub fn line(&mut self) -> io::Result<String> {
        Ok(self.whole_line()?.trim_end_matches('\n').to_string())
    }

    /// The next line with its newline; without one if the stream ended in the middle of it.
    pub fn whole_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        Ok(line)
    }
}
