//! Nodes as processes of this machine: for `client cluster` and `client scenario`.

pub mod program;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

use raft_lab::raft::types::NodeId;
use raft_lab::wire::MAX_LINE_BYTES;

use crate::lines::Line;
use crate::output::Failure;

/// What a process tells of itself.
pub enum News {
    Line(NodeId, Line),
    /// Both outputs of the node's process with this number are closed: it has ended.
    Ended(NodeId, u32),
}

/// A node that runs or has run. Its standard input is held open, and it ends when that closes: so it ends with this
/// program, even when this one is killed.
pub struct Process {
    node: NodeId,
    child: Child,
    /// It was told to end; what it said before may still be on its way.
    killed: bool,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a node with nothing of this program's environment. What it prints comes as [`News::Line`].
    pub fn start<T: From<News> + Send + 'static>(
        node: NodeId,
        program: &Path,
        arguments: Vec<String>,
        news: SyncSender<T>,
    ) -> Result<Process, Failure> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| Failure::NotDone(format!("cannot start {node} ({}): {error}", program.display())))?;
        let process = child.id();
        let errors = child.stderr.take();
        let output = child.stdout.take();
        thread::spawn(move || {
            let news_of_errors = news.clone();
            let second = thread::spawn(move || forward(node, errors, &news_of_errors));
            forward(node, output, &news);
            // Its last words on standard error come before the news of its end.
            let _ = second.join();
            let _ = news.send(News::Ended(node, process).into());
        });
        Ok(Process { node, child, killed: false, ended: None })
    }

    pub fn node(&self) -> NodeId {
        self.node
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&self) -> bool {
        self.ended.is_none() && !self.killed
    }

    /// It ended by itself with an error: starting it again would do the same. (A crash that was ordered has the
    /// exit code of a kill.)
    pub fn gave_up(&self) -> bool {
        self.ended.is_some_and(|status| status.code().is_some_and(|code| code != 137))
    }

    /// At once, as by `kill -9`. Its end is told by [`News::Ended`].
    pub fn kill(&mut self) {
        self.killed = true;
        // The error says that it has ended already.
        let _ = self.child.kill();
    }

    /// Takes the process away after its end, and says how it ended.
    pub fn reap(&mut self) -> String {
        // Closed outputs mean that it has ended or is about to; nothing else could be done with it.
        self.kill();
        match self.child.wait() {
            Ok(status) => {
                self.ended = Some(status);
                format!("has ended ({status})")
            }
            Err(error) => format!("cannot be waited for: {error}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends on what a node prints, whole lines only, until it ends.
fn forward<T: From<News>>(node: NodeId, source: Option<impl Read>, news: &SyncSender<T>) {
    let Some(source) = source else { return };
    let mut source = BufReader::new(source);
    loop {
        let mut line = Vec::new();
        match source.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        line.pop_if(|last| *last == b'\n');
        let line = Line::read(&String::from_utf8_lossy(&line));
        if news.send(News::Line(node, line).into()).is_err() {
            return;
        }
    }
}
