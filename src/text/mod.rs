//! Stand-in until branch text lands: in a merge take the other side.
pub mod checksum {
    pub fn crc32(seed: u32, b: &[u8]) -> u32 {
        let mut c = !seed;
        for x in b {
            c ^= *x as u32;
            for _ in 0..8 {
                c = if c & 1 == 1 { (c >> 1) ^ 0xEDB88320 } else { c >> 1 };
            }
        }
        !c
    }
}
pub fn quoted_len(s: &str) -> usize {
    s.len() + 2
}
