//! What nodes have on disk, how they start from it, and what crashes leave of it.

use raft_lab::raft::Raft;
use raft_lab::raft::ready::Input;
use raft_lab::raft::types::{DiskId, NodeId, Persistent};
use raft_lab::store::Store;

use super::World;

impl World {
    pub fn start(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        assert!(node.raft.is_none(), "{id} runs already");
        let (raft, ready) = Raft::new(node.config.clone(), node.synced.clone(), None, now);
        node.raft = Some(raft);
        node.config.new_disk = false;
        node.store = Store::new();
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

    /// A crash; of a batch that is written and not synced the first `kept` records survive.
    pub fn crash(&mut self, id: NodeId, kept: usize) {
        let node = self.node(id);
        assert!(node.raft.take().is_some(), "{id} is down already");
        for record in node.held.take().into_iter().flat_map(|ready| ready.records).take(kept) {
            node.synced.apply(record).unwrap_or_else(|wrong| panic!("{id}: {wrong}"));
        }
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
        node.config.disk = disk;
        node.config.new_disk = true;
        self.judge.forget(id);
    }

    /// The last entries on the disk of a node that is down are gone, though they were synced: damage at the
    /// end of the log looks like a torn write. The judge, who trusts disks, starts anew with this node.
    pub fn rot(&mut self, id: NodeId, count: usize) {
        let node = self.node(id);
        assert!(node.raft.is_none(), "crash {id} first");
        node.synced.entries.truncate(node.synced.entries.len().saturating_sub(count));
        self.judge.forget(id);
    }
}
