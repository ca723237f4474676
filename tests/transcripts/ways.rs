//! The ways between nodes: messages under way as text, and what becomes of them.

use raft_lab::raft::message::Message;
use raft_lab::raft::ready::Input;
use raft_lab::raft::types::NodeId;
use raft_lab::wire::peer;

use super::show::shortened;
use super::{Link, Parcel, World};

/// More deliveries than this in one command are a storm, not a transcript.
pub const MAX_DELIVERIES: usize = 10_000;

impl World {
    pub fn post(&mut self, from: NodeId, to: NodeId, message: &Message) {
        let mut line = String::new();
        peer::encode(message, &mut line);
        let disk = self.node(from).config.disk;
        self.under_way.push(Parcel { link: (from, to), disk, line, number: self.next_number });
        self.next_number += 1;
    }

    /// A message that nobody sent. It is of round 0 unless it says another.
    pub fn inject(&mut self, link: Link, line: &str) {
        let disk = self.node(link.0).config.disk;
        let mut line = line.to_string();
        if line.starts_with("append-entries") && !line.contains(" round=") {
            let place = line.find(" entries=").unwrap_or(line.len());
            line.insert_str(place, " round=0");
        }
        self.arrive(Parcel { link, disk, line, number: 0 });
    }

    fn arrive(&mut self, parcel: Parcel) {
        let (from, to) = parcel.link;
        let down = self.raft(to).is_none();
        if down || self.cut.contains(&parcel.link) {
            if self.showing.is_none() {
                let why = if down { format!("{to} is down") } else { "no way".to_string() };
                self.say(format!("lost {from} -> {to}: {} ({why})", shortened(&parcel.line)));
            }
            return;
        }
        if self.showing.is_none() {
            self.say(format!("{from} -> {to}: {}", shortened(&parcel.line)));
        }
        let message = peer::decode(&parcel.line).unwrap_or_else(|wrong| panic!("{}: {wrong}", parcel.line));
        let before = std::mem::replace(&mut self.indented, true);
        self.input(to, vec![Input::Message { from, disk: parcel.disk, message }]);
        self.indented = before;
    }

    /// Delivers everything, and what it causes, until nothing is under way.
    pub fn deliver_all(&mut self) {
        for _ in 0..MAX_DELIVERIES {
            let next = self.under_way.iter().position(|parcel| !self.slow.contains(&parcel.link));
            let Some(next) = next else { return };
            let parcel = self.under_way.remove(next);
            self.arrive(parcel);
        }
        panic!("still not quiet after {MAX_DELIVERIES} messages");
    }

    fn take(&mut self, links: &[Link]) -> Vec<Parcel> {
        let (taken, left) = std::mem::take(&mut self.under_way).into_iter().partition(|p| links.contains(&p.link));
        self.under_way = left;
        taken
    }

    /// Delivers what is under way on these links now, and not what it causes. At most `count`.
    pub fn deliver(&mut self, links: &[Link], count: usize) {
        let mut parcels = self.take(links);
        let rest = parcels.split_off(count.min(parcels.len()));
        self.under_way.splice(0..0, rest);
        assert!(!parcels.is_empty(), "nothing is under way there");
        for parcel in parcels {
            self.arrive(parcel);
        }
    }

    pub fn drop_messages(&mut self, links: &[Link]) {
        for parcel in self.take(links) {
            let (from, to) = parcel.link;
            self.say(format!("dropped {from} -> {to}: {}", shortened(&parcel.line)));
        }
    }

    pub fn duplicate(&mut self, links: &[Link]) {
        let copies: Vec<Parcel> = self.under_way.iter().filter(|p| links.contains(&p.link)).cloned().collect();
        self.under_way.extend(copies);
    }

    pub fn reverse(&mut self, links: &[Link]) {
        let mut parcels = self.take(links);
        parcels.reverse();
        self.under_way.extend(parcels);
    }

    /// Sets what is under way on these links aside.
    pub fn delay(&mut self, links: &[Link]) {
        let parcels = self.take(links);
        assert!(!parcels.is_empty(), "nothing is under way there");
        self.late.extend(parcels);
    }

    /// What was set aside arrives now.
    pub fn deliver_late(&mut self, links: &[Link]) {
        let (taken, left) = std::mem::take(&mut self.late).into_iter().partition(|p| links.contains(&p.link));
        self.late = left;
        let taken: Vec<Parcel> = taken;
        assert!(!taken.is_empty(), "nothing was set aside there");
        for parcel in taken {
            self.arrive(parcel);
        }
    }

    pub fn slow(&mut self, links: &[Link], slow: bool) {
        match slow {
            true => self.slow.extend(links),
            false => self.slow.retain(|link| !links.contains(link)),
        }
    }

    pub fn cut(&mut self, links: &[Link]) {
        self.cut.extend(links);
    }

    pub fn heal(&mut self, links: Option<&[Link]>) {
        match links {
            Some(links) => self.cut.retain(|link| !links.contains(link)),
            None => self.cut.clear(),
        }
    }

    /// A connection breaks: what is under way on it is gone.
    pub fn lose(&mut self, link: Link) {
        self.take(&[link]);
        let lost = Input::PeerLost { peer: link.1, detail: "connection reset".to_string() };
        self.input(link.0, vec![lost]);
    }

    pub fn connect(&mut self, link: Link) {
        let connected = Input::PeerConnected { peer: link.1, detail: format!("{}:1234", link.1) };
        self.input(link.0, vec![connected]);
    }
}
