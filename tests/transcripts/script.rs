//! Reads a transcript, runs its commands, compares or rewrites what they showed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use raft_lab::raft::ready::Input;
use raft_lab::raft::types::{ClientId, Command, KeyWrite, LOG_KEY, NodeId, Role, Session, WriteKind};

use super::world::{Link, World};

/// A line of a file: a comment or an empty line, or a command with what it is expected to show.
enum Part {
    Text(String),
    Command { line: String, number: usize, expected: Vec<String> },
}

fn parse(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match (line, parts.last_mut()) {
            (line, _) if line.is_empty() || line.starts_with('#') => parts.push(Part::Text(line.to_string())),
            (line, _) if line.starts_with("> ") => {
                parts.push(Part::Command { line: line[2..].to_string(), number: index + 1, expected: Vec::new() });
            }
            (line, Some(Part::Command { expected, .. })) => expected.push(line.to_string()),
            (line, _) => panic!("line {}: neither a comment nor a command nor under one: {line}", index + 1),
        }
    }
    parts
}

/// Runs the file; with `UPDATE_TRANSCRIPTS=1` rewrites what its commands show.
pub fn check(path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut script = Script::default();
    let (mut new, mut expected_text) = (Vec::new(), Vec::new());
    for part in parse(&text) {
        match part {
            Part::Text(line) => {
                new.push(line.clone());
                expected_text.push(line);
            }
            Part::Command { line, number, expected } => {
                script.place = format!("{}:{number}: {line}", path.display());
                new.push(format!("> {line}"));
                expected_text.push(format!("> {line}"));
                new.extend(script.run(&line));
                expected_text.extend(expected);
            }
        }
    }
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some_and(|value| value == "1") {
        fs::write(path, new.join("\n") + "\n").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    } else if new != expected_text {
        panic!(
            "\n{} shows something else now (- expected, + shown):\n\n{}\n\
             If the new text is right: UPDATE_TRANSCRIPTS=1 cargo test --test transcripts\n",
            path.display(),
            difference(&expected_text, &new)
        );
    }
}

/// The lines that changed, with the command they belong to and a few lines around.
fn difference(old: &[String], new: &[String]) -> String {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = (&old[start..], &new[start..]);
    let end = rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(a, b)| a == b).count();
    let from = new[..start].iter().rposition(|line| line.starts_with("> ")).unwrap_or(0);
    let mut lines: Vec<String> = new[from..start].iter().map(|line| format!("  {line}")).collect();
    lines.extend(old[start..old.len() - end].iter().map(|line| format!("- {line}")));
    lines.extend(new[start..new.len() - end].iter().map(|line| format!("+ {line}")));
    lines.extend(new[new.len() - end..].iter().take(3).map(|line| format!("  {line}")));
    lines.join("\n") + "\n"
}

#[derive(Default)]
struct Script {
    world: World,
    sessions: BTreeMap<String, ClientId>,
    /// Where we are, for panics.
    place: String,
}

impl Script {
    fn run(&mut self, line: &str) -> Vec<String> {
        let first = self.world.next_number();
        let quiet = line.strip_prefix("quietly ");
        self.execute(quiet.unwrap_or(line));
        let shown = self.world.take_output(first);
        if quiet.is_some() { Vec::new() } else { shown }
    }

    fn wrong(&self, why: &str) -> ! {
        panic!("{}: {why}", self.place)
    }

    fn execute(&mut self, line: &str) {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match command {
            "cluster" => {
                let size = self.number(words.first().copied().unwrap_or(""));
                self.world = World::new(size, !words.contains(&"pre-vote=off"));
            }
            "elect" => self.elect(self.one_node(&words)),
            "advance" => self.world.advance(self.duration(rest)),
            "timeout" => self.world.input(self.one_node(&words), vec![Input::ElectionTimeout]),
            "heartbeat" => self.world.input(self.one_node(&words), vec![Input::HeartbeatDue]),
            "run" => self.run_for(&words),
            "session" => self.session(&words),
            "append" => self.append(rest),
            "put" => self.write(WriteKind::Put, rest),
            "append-to" => self.write(WriteKind::Append, rest),
            "read" => self.read(rest, 1),
            "read-many" => {
                let (node, count) = rest.split_once(' ').unwrap_or((rest, ""));
                self.read(node, self.number(count));
            }
            "readmit" => match words.as_slice() {
                [leader, node] => self.world.readmit(self.node(leader), self.node(node)),
                _ => self.wrong("expected the node that is asked and the one that is readmitted: 1 3"),
            },
            "repeat" => {
                let (times, commands) = rest.split_once(' ').unwrap_or((rest, ""));
                for _ in 0..self.number(times) {
                    commands.split("; ").for_each(|command| self.execute(command));
                }
            }
            "append-many" => self.append_many(rest),
            "crowd" => self.crowd(&words),
            "say" => {
                let (link, message) = rest.split_once(' ').unwrap_or((rest, ""));
                self.world.inject(self.link(link), message);
            }
            "status" => self.nodes(&words).into_iter().for_each(|id| self.world.show_status(id)),
            "log" => self.nodes(&words).into_iter().for_each(|id| self.world.show_log(id)),
            "disk" => self.nodes(&words).into_iter().for_each(|id| self.world.show_disk(id)),
            "keys" => self.nodes(&words).into_iter().for_each(|id| self.world.show_keys(id)),
            "snapshot-text" => self.world.show_snapshot(self.one_node(&words)),
            "list" => self.nodes(&words).into_iter().for_each(|id| self.world.show_list(id)),
            "hold-disk" => self.world.hold_disk(self.one_node(&words)),
            "sync" => self.world.sync(self.one_node(&words), false),
            "free-disk" => self.world.sync(self.one_node(&words), true),
            "crash" => match words.as_slice() {
                [node] => self.world.crash(self.node(node), 0),
                [node, "keeping", "all"] => self.world.crash(self.node(node), usize::MAX),
                [node, "keeping", kept] => self.world.crash(self.node(node), self.number(kept) as usize),
                _ => self.wrong("expected a node, or: 1 keeping 2"),
            },
            "snapshot" => match words.as_slice() {
                [nodes @ .., "now"] => self.nodes(nodes).into_iter().for_each(|id| self.world.compact(id, true)),
                nodes => self.nodes(nodes).into_iter().for_each(|id| self.world.compact(id, false)),
            },
            "hold-pieces" => self.world.hold_pieces(self.one_node(&words), true),
            "free-pieces" => self.world.hold_pieces(self.one_node(&words), false),
            "chunk-size" => self.world.chunk_size(self.number(rest) as usize),
            "restart" => self.nodes(&words).into_iter().for_each(|id| self.world.restart(id)),
            "wipe" => self.world.wipe(self.one_node(&words)),
            "rot" => self.world.rot(self.one_node(&words[..1]), self.number(words[1]) as usize),
            _ => self.execute_on_links(command, rest, &words),
        }
    }

    /// The commands about ways between nodes.
    fn execute_on_links(&mut self, command: &str, rest: &str, words: &[&str]) {
        match (command, words) {
            ("deliver", []) => self.world.deliver_all(),
            ("deliver", ["first", links @ ..]) => self.world.deliver(&self.links(links), 1),
            ("deliver", links) => self.world.deliver(&self.links(links), usize::MAX),
            ("drop", links) => self.world.drop_messages(&self.links(links)),
            ("duplicate", links) => self.world.duplicate(&self.links(links)),
            ("reverse", links) => self.world.reverse(&self.links(links)),
            ("delay", links) => self.world.delay(&self.links(links)),
            ("late", links) => self.world.deliver_late(&self.links(links)),
            ("count", links) => self.world.show_count(&self.links(links)),
            ("slow", links) => self.world.slow(&self.links(links), true),
            ("fast", links) => self.world.slow(&self.links(links), false),
            ("cut", links) => self.world.cut(&self.links(links)),
            ("heal", []) => self.world.heal(None),
            ("heal", links) => self.world.heal(Some(&self.links(links))),
            ("partition", _) => {
                let sides: Vec<Vec<NodeId>> =
                    rest.split('|').map(|side| self.nodes(&side.split_whitespace().collect::<Vec<_>>())).collect();
                let side = |id: &NodeId| sides.iter().position(|side| side.contains(id));
                self.cut_unless(|from, to| side(from).is_some() && side(from) == side(to));
            }
            ("only", pairs) => {
                let open: Vec<Link> = pairs.iter().map(|pair| self.link(&pair.replace('-', "->"))).collect();
                self.cut_unless(|from, to| open.contains(&(*from, *to)) || open.contains(&(*to, *from)));
            }
            ("lose", links) => self.links(links).into_iter().for_each(|link| self.world.lose(link)),
            ("connect", links) => self.links(links).into_iter().for_each(|link| self.world.connect(link)),
            _ => self.wrong("no such command"),
        }
    }

    fn cut_unless(&mut self, open: impl Fn(&NodeId, &NodeId) -> bool) {
        let cut: Vec<Link> = self.all_links().into_iter().filter(|(from, to)| !open(from, to)).collect();
        self.world.heal(None);
        self.world.cut(&cut);
    }

    fn elect(&mut self, id: NodeId) {
        self.world.advance(Duration::from_secs(8));
        self.world.input(id, vec![Input::ElectionTimeout]);
        self.world.deliver_all();
        self.world.forget_output();
        match self.world.raft(id) {
            Some(raft) if raft.role() == Role::Leader => {
                let line = format!("{id} leads t{}", raft.current_term());
                self.world.say(line);
            }
            Some(raft) => self.wrong(&format!("{id} is {} of t{}", raft.role(), raft.current_term())),
            None => self.wrong("it is down"),
        }
    }

    fn run_for(&mut self, words: &[&str]) {
        match words {
            [time, "showing", topics @ ..] => {
                self.world.run(self.duration(time), topics.iter().map(|topic| topic.to_string()).collect());
            }
            [time] => self.world.run(self.duration(time), Vec::new()),
            _ => self.wrong("expected: 30s showing STATE COMMIT"),
        }
    }

    // ---- clients -------------------------------------------------------------------------------

    /// `session A 1`: the nonce is the letter, so that one sees in the log whose it is.
    fn session(&mut self, words: &[&str]) {
        let [name, node] = words else { self.wrong("expected: A 1") };
        let nonce = u64::from_str_radix(name, 16).unwrap_or_else(|_| self.wrong("a session is called A to F"));
        let client = self.world.session(self.node(node), nonce);
        self.world.say(format!("{name} is {client}"));
        self.sessions.insert(name.to_string(), client);
    }

    fn known(&self, session: &str) -> ClientId {
        self.sessions.get(session).copied().unwrap_or_else(|| self.wrong("no such session"))
    }

    fn append(&mut self, rest: &str) {
        let (before, text) = self.quoted(rest);
        let (id, session, name) = self.asked(before);
        let command = Command::Append { session, text: text.into() };
        self.world.propose(id, vec![(format!("{name}{text:?}"), command)]);
    }

    /// The node, the session with its number, and how the request's name begins: `1` or `1 A 5`
    fn asked(&self, before: &str) -> (NodeId, Option<Session>, String) {
        match before.split_whitespace().collect::<Vec<_>>().as_slice() {
            [node] => (self.node(node), None, String::new()),
            [node, client, seq] => {
                let session = Session { client: self.known(client), seq: self.number(seq) };
                (self.node(node), Some(session), format!("{client} {seq} "))
            }
            _ => self.wrong("expected: 1 \"x\" or 1 A 5 \"x\""),
        }
    }

    /// `1 "a" "cat" "dog"`, or as number 5 of session A: `1 A 5 "a" "cat" "dog"`
    fn write(&mut self, kind: WriteKind, rest: &str) {
        let (before, strings) = rest.split_once('"').unwrap_or_else(|| self.wrong("key and strings must be quoted"));
        let mut strings = strings.split('"').step_by(2).map(Arc::from);
        let key: Arc<str> = strings.next().unwrap_or_else(|| self.wrong("expected a key"));
        let (id, session, name) = self.asked(before);
        let write = KeyWrite { kind, key, values: strings.collect() };
        let command = Command::Write { session, write: write.into() };
        self.world.propose(id, vec![(format!("{name}{}", command.words()), command)]);
    }

    /// `1`: the lab's log; `1 "a"`: the list of a key. `count` clients ask at once.
    fn read(&mut self, rest: &str, count: u64) {
        let (node, key, name) = match rest.contains('"') {
            true => {
                let (node, key) = self.quoted(rest);
                (node.trim(), key, format!("read {key:?}"))
            }
            false => (rest, LOG_KEY, "read".to_string()),
        };
        let reads = (1..=count).map(|number| {
            let name = if count > 1 { format!("{name} {number}") } else { name.clone() };
            (name, key.to_string())
        });
        self.world.read(self.node(node), reads.collect());
    }

    /// `append-many 1 100 "x"`, or with session A and its numbers 1 to 100: `append-many 1 A 100 "x"`
    fn append_many(&mut self, rest: &str) {
        let (before, text) = self.quoted(rest);
        let (node, client, count) = match before.split_whitespace().collect::<Vec<_>>().as_slice() {
            [node, count] => (self.node(node), None, self.number(count)),
            [node, client, count] => (self.node(node), Some((*client, self.known(client))), self.number(count)),
            _ => self.wrong("expected: 1 100 \"x\" or 1 A 100 \"x\""),
        };
        let requests = (1..=count).map(|seq| {
            let session = client.map(|(_, client)| Session { client, seq });
            let text = format!("{text}{seq}");
            let name = client.map_or(format!("{text:?}"), |(client, _)| format!("{client} {seq} {text:?}"));
            (name, Command::Append { session, text: text.into() })
        });
        self.world.propose(node, requests.collect());
    }

    /// Many clients, each with a session of its own, append a string each.
    fn crowd(&mut self, words: &[&str]) {
        let [node, count] = words else { self.wrong("expected: 1 1024") };
        let id = self.node(node);
        let requests = (1..=self.number(count)).map(|number| {
            let client = self.world.session(id, 0x1000 + number);
            let session = Some(Session { client, seq: 1 });
            (format!("crowd {number}"), Command::Append { session, text: format!("crowd {number}").into() })
        });
        let requests = requests.collect();
        self.world.propose(id, requests);
    }

    // ---- words ---------------------------------------------------------------------------------

    fn quoted<'a>(&self, rest: &'a str) -> (&'a str, &'a str) {
        let (before, text) = rest.split_once('"').unwrap_or_else(|| self.wrong("the text must be quoted"));
        (before, text.strip_suffix('"').unwrap_or_else(|| self.wrong("the text must end with a quote")))
    }

    fn number(&self, word: &str) -> u64 {
        word.parse().unwrap_or_else(|_| self.wrong(&format!("not a number: {word:?}")))
    }

    fn duration(&self, word: &str) -> Duration {
        let (number, unit) = word.split_at(word.find(|c: char| c.is_alphabetic()).unwrap_or(word.len()));
        match unit {
            "s" => Duration::from_secs(self.number(number)),
            "ms" => Duration::from_millis(self.number(number)),
            _ => self.wrong("expected a time like 2s or 500ms"),
        }
    }

    fn node(&self, word: &str) -> NodeId {
        let id = NodeId(self.number(word));
        if self.world.ids().contains(&id) { id } else { self.wrong(&format!("{id} is not in this cluster")) }
    }

    fn nodes(&self, words: &[&str]) -> Vec<NodeId> {
        if words.is_empty() { self.world.ids() } else { words.iter().map(|word| self.node(word)).collect() }
    }

    fn one_node(&self, words: &[&str]) -> NodeId {
        let [word] = words else { self.wrong("expected one node") };
        self.node(word)
    }

    fn link(&self, word: &str) -> Link {
        let (from, to) = word.split_once("->").unwrap_or_else(|| self.wrong("expected a way like 1->2"));
        (self.node(from), self.node(to))
    }

    /// `1->2`, `*->2`, `1->*`
    fn links(&self, words: &[&str]) -> Vec<Link> {
        if words.is_empty() {
            self.wrong("expected ways like 1->2 or *->3");
        }
        let mut links = Vec::new();
        for word in words {
            let (from, to) = word.split_once("->").unwrap_or_else(|| self.wrong("expected a way like 1->2"));
            let fits = |pattern: &str, id: NodeId| pattern == "*" || self.node(pattern) == id;
            links.extend(self.all_links().into_iter().filter(|link| fits(from, link.0) && fits(to, link.1)));
        }
        links
    }

    fn all_links(&self) -> Vec<Link> {
        let ids = self.world.ids();
        let pairs = ids.iter().flat_map(|from| ids.iter().map(|to| (*from, *to)));
        pairs.filter(|(from, to)| from != to).collect()
    }
}
