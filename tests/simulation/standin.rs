use crate::raft::message::Message;
use crate::raft::types::*;
use std::cell::RefCell;
use std::fmt::Write;
thread_local! { static M: RefCell<Vec<Message>> = RefCell::new(vec![]); static R: RefCell<Vec<Vec<Record>>> = RefCell::new(vec![]); }
pub struct Identity {
    pub node: NodeId,
    pub size: u64,
    pub disk: DiskId,
}
pub mod peer {
    use super::*;
    pub fn encode(m: &Message, o: &mut String) {
        M.with_borrow_mut(|v| {
            write!(o, "{}", v.len()).unwrap();
            v.push(m.clone());
        })
    }
    pub fn decode(s: &str) -> Result<Message, String> {
        M.with_borrow(|v| Ok(v[s.parse::<usize>().unwrap()].clone()))
    }
}
pub mod wal {
    use super::*;
    pub struct Scanned {
        pub persistent: Persistent,
        pub last_batch: u64,
        pub valid_len: usize,
    }
    pub fn encode_header(_: &Identity, o: &mut String) {
        o.push_str("head 1\n")
    }
    pub fn encode_batch(b: u64, r: &[Record], o: &mut String) {
        R.with_borrow_mut(|v| {
            writeln!(o, "batch {b} {} {}", v.len(), v.len()).unwrap();
            v.push(r.to_vec());
        })
    }
    pub fn scan(bytes: &[u8]) -> Result<Scanned, String> {
        let mut s = Scanned { persistent: Persistent::default(), last_batch: 1, valid_len: 7 };
        while let Some(n) = bytes[s.valid_len..].iter().position(|b| *b == b'\n') {
            let Ok(l) = std::str::from_utf8(&bytes[s.valid_len..s.valid_len + n]) else { break };
            let w: Vec<_> = l.split(' ').collect();
            if w.len() != 4 || w[0] != "batch" || w[2] != w[3] || w[1] != (s.last_batch + 1).to_string() {
                break;
            }
            let Ok(k) = w[2].parse::<usize>() else { break };
            let Some(rs) = R.with_borrow(|v| v.get(k).cloned()) else { break };
            for r in rs {
                s.persistent.apply(r)?;
            }
            s.last_batch += 1;
            s.valid_len += n + 1;
        }
        Ok(s)
    }
}
