//! What nodes have on disk, how they start from it, and what crashes leave of it.

use raft_lab::raft::Raft;
use raft_lab::raft::message::{Body, Message};
use raft_lab::raft::ready::{Input, SendChunk, StoreChunk};
use raft_lab::raft::types::{DiskId, EntryId, NodeId, Persistent, Record, SnapshotMeta};
use raft_lab::snapshot;
use raft_lab::store::Store;

use super::{Node, World};

/// A snapshot, or as much of it as there is.
#[derive(Clone, Debug)]
pub struct Snapshot {
    meta: SnapshotMeta,
    text: String,
}

/// A snapshot that is whole and proven right.
#[derive(Debug)]
pub struct Installable {
    snapshot: Snapshot,
    store: Store,
}

impl Snapshot {
    fn new(store: &Store, last: EntryId, sum: u32) -> Snapshot {
        let mut text = Vec::new();
        let meta = snapshot::write(store, last, sum, &mut text).unwrap_or_else(|error| panic!("{error}"));
        let text = String::from_utf8(text).unwrap_or_else(|error| panic!("{error}"));
        let snapshot = Snapshot { meta, text };
        assert_eq!(&snapshot.read().unwrap_or_else(|wrong| panic!("{wrong}")), store, "written and read is the same");
        snapshot
    }

    pub fn meta(&self) -> SnapshotMeta {
        self.meta
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its content, if all is as it should be.
    fn read(&self) -> Result<Store, String> {
        let (meta, store) = snapshot::read(&mut self.text.as_bytes()).map_err(|wrong| wrong.to_string())?;
        if meta == self.meta { Ok(store) } else { Err(format!("it is {meta:?}, announced was {:?}", self.meta)) }
    }
}

impl Node {
    /// A batch is on disk. One that begins a new file says everything anew: what it does not say is gone with
    /// the old files.
    pub fn write(&mut self, records: Vec<Record>) {
        let id = self.config.id;
        if matches!(records.first(), Some(Record::Base { .. })) {
            self.synced = Persistent::default();
        }
        for record in records {
            self.synced.apply(record).unwrap_or_else(|wrong| panic!("{id} wrote a record that cannot follow: {wrong}"));
        }
    }

    /// The snapshot that has come takes the place of all that was, on disk and in the state machine.
    pub fn install(&mut self, meta: SnapshotMeta) {
        let id = self.config.id;
        let Installable { snapshot, store } =
            self.installable.take().unwrap_or_else(|| panic!("{id} installs what has not come"));
        assert_eq!(snapshot.meta, meta, "{id} installs another snapshot than has come");
        (self.snapshot, self.store) = (Some(snapshot), store);
    }

    /// Keeps a piece of a snapshot, as a node's snapshot thread does, and tells what is there.
    pub fn store_chunk(&mut self, StoreChunk { meta, offset, data }: StoreChunk) {
        if offset == 0 {
            self.received = Some(Snapshot { meta, text: String::new() });
        }
        let id = self.config.id;
        let received = self.received.as_mut().filter(|there| there.meta == meta && there.text.len() as u64 == offset);
        let received = received.unwrap_or_else(|| panic!("{id} stores a piece at {offset} that does not follow"));
        received.text.push_str(&data);
        let through = received.text.len() as u64;
        if through < meta.bytes {
            return self.pieces.push(Input::ChunkStored { meta, through });
        }
        let Some(snapshot) = self.received.take() else { return };
        self.pieces.push(match snapshot.read() {
            Ok(store) => {
                let readmitted = store.readmitted().iter().map(|(node, disk)| (*node, *disk)).collect();
                self.installable = Some(Installable { snapshot, store });
                Input::SnapshotStored { meta, readmitted }
            }
            Err(why) => Input::SnapshotBroken { meta, why },
        });
    }
}

impl World {
    pub fn start(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        assert!(node.raft.is_none(), "{id} runs already");
        let snapshot = node.snapshot.as_ref();
        node.store =
            snapshot.map_or_else(Store::new, |snapshot| snapshot.read().unwrap_or_else(|wrong| panic!("{wrong}")));
        let meta = snapshot.map(Snapshot::meta);
        let (raft, ready) = Raft::new(node.config.clone(), node.synced.clone(), meta, now);
        node.raft = Some(raft);
        node.config.new_disk = false;
        self.handle(id, ready);
    }

    pub fn hold_disk(&mut self, id: NodeId) {
        self.node(id).disk_held = true;
    }

    /// The sync that is under way ends well; with `free` all later ones will not be held any more.
    pub fn sync(&mut self, id: NodeId, free: bool) {
        let node = self.node(id);
        node.disk_held = !free;
        match node.held.take() {
            Some(ready) => self.finish(id, ready),
            None => assert!(free, "{id} has nothing to sync"),
        }
    }

    /// A crash; of a batch that is written and not synced the first `kept` records survive. A batch that
    /// begins a new file survives whole or not at all.
    pub fn crash(&mut self, id: NodeId, kept: usize) {
        let node = self.node(id);
        assert!(node.raft.take().is_some(), "{id} is down already");
        if let Some(mut held) = node.held.take() {
            let whole = kept >= held.records.len();
            match held.installed {
                Some(meta) if whole => {
                    node.write(held.records);
                    node.install(meta);
                }
                Some(_) => {}
                None => {
                    held.records.truncate(kept);
                    node.write(held.records);
                }
            }
        }
        (node.received, node.installable) = (None, None);
        node.pieces_held = false;
        node.pieces.clear();
        node.disk_held = false;
        node.inbox.clear();
        node.next_heartbeat = None;
    }

    pub fn restart(&mut self, id: NodeId) {
        self.start(id);
        self.meet(id);
    }

    /// The node and whom it can reach open connections, and their hellos name their disks.
    pub fn meet(&mut self, id: NodeId) {
        for peer in self.ids() {
            let apart = self.cut.contains(&(id, peer)) || self.cut.contains(&(peer, id));
            if peer == id || apart || self.raft(peer).is_none() {
                continue;
            }
            for (one, other) in [(id, peer), (peer, id)] {
                let disk = self.node(other).config.disk;
                self.input(one, vec![Input::Met { peer: other, disk }]);
            }
        }
    }

    /// The data directory is lost; the node is down.
    pub fn wipe(&mut self, id: NodeId) {
        self.wiped += 1;
        let disk = DiskId(0x100 * self.wiped + id.0);
        let node = self.node(id);
        assert!(node.raft.is_none(), "crash {id} first");
        node.synced = Persistent::default();
        node.snapshot = None;
        node.config.disk = disk;
        node.config.new_disk = true;
        self.judge.forget(id);
    }

    // ---- snapshots -----------------------------------------------------------------------------

    /// A snapshot takes the place of all that the node has committed: a new file of the log begins, and then the
    /// files before it go. A node that sends a snapshot waits with the next one, unless it `must`.
    pub fn compact(&mut self, id: NodeId, must: bool) {
        let node = self.node(id);
        assert!(node.held.is_none(), "{id} waits for its disk");
        let Some(raft) = &node.raft else { panic!("{id} is down") };
        if raft.is_sending_snapshot() && !must {
            return self.say(format!("({id} sends a snapshot; it makes another one later)"));
        }
        let index = raft.commit_index();
        let last = raft.log().id(index).unwrap_or_default();
        let (opening, sum) = (raft.opening(index), raft.log().sum(index));
        node.write(opening);
        let snapshot = Snapshot::new(&node.store, last, sum);
        let meta = snapshot.meta;
        node.snapshot = Some(snapshot);
        self.input(id, vec![Input::SnapshotMade { meta }]);
    }

    /// The node takes a while to store a piece of a snapshot; or no more.
    pub fn hold_pieces(&mut self, id: NodeId, held: bool) {
        let node = self.node(id);
        node.pieces_held = held;
        if !held {
            let pieces = std::mem::take(&mut node.pieces);
            self.input(id, pieces);
        }
    }

    pub fn chunk_size(&mut self, bytes: usize) {
        self.chunk_bytes = bytes;
    }

    /// What the sender thread does: completes the piece from the file.
    pub fn send_chunk(&mut self, id: NodeId, chunk: SendChunk) {
        let SendChunk { to, term, meta, offset, bytes } = chunk;
        let bytes = if self.chunk_bytes > 0 { self.chunk_bytes.min(bytes) } else { bytes };
        let snapshot = self.node(id).snapshot.as_ref().filter(|snapshot| snapshot.meta == meta);
        let Some(Snapshot { text, .. }) = snapshot else { panic!("{id} sends {meta:?}, which it has not") };
        let start = offset as usize;
        let mut end = text.len().min(start + bytes);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let body = Body::InstallSnapshot { meta, offset, data: text[start..end].into() };
        self.post(id, to, &Message { term, body });
    }

    // ---- damage --------------------------------------------------------------------------------

    /// The last entries on the disk of a node that is down are gone, though they were synced: damage at the
    /// end of the log looks like a torn write. The judge, who trusts disks, starts anew with this node.
    pub fn rot(&mut self, id: NodeId, count: usize) {
        let node = self.node(id);
        assert!(node.raft.is_none(), "crash {id} first");
        node.synced.entries.truncate(node.synced.entries.len().saturating_sub(count));
        self.judge.forget(id);
    }
}
