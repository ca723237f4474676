//! Chance, the same again from the same seed: xoshiro256** 1.0 (D. Blackman and S. Vigna, "Scrambled
//! Linear Pseudorandom Number Generators", 2021), seeded through SplitMix64 (G. Steele, D. Lea and
//! C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014) as its authors advise.
//! Good for time-outs, names and simulations; not for secrets.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// A generator of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

/// SplitMix64: moves the state and returns the next number.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The same numbers again for the same seed.
    pub fn from_seed(mut seed: u64) -> Random {
        Random { state: std::array::from_fn(|_| split_mix(&mut seed)) }
    }

    /// Other numbers each time: the seed comes from the operating system, by the way that std takes
    /// to key its hash maps (std has no other door to it). That key is drawn once for each thread
    /// and counted up after, so the process's number and the time are stirred in.
    pub fn from_os() -> Random {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        if let Ok(time) = std::time::UNIX_EPOCH.elapsed() {
            hasher.write_u128(time.as_nanos());
        }
        Random::from_seed(hasher.finish())
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `n`, each as likely as the others; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // Multiply and take the upper half; the few lower halves that would make some numbers
        // likelier are drawn again (D. Lemire, "Fast Random Integer Generation in an Interval", 2019).
        let mut product = u128::from(self.next_u64()) * u128::from(n);
        if (product as u64) < n {
            let uneven = n.wrapping_neg() % n;
            while (product as u64) < uneven {
                product = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// A duration from `min` to `max`, both included, to the nanosecond; `min` if `max` is not more.
    pub fn duration(&mut self, min: Duration, max: Duration) -> Duration {
        let width = u64::try_from(max.saturating_sub(min).as_nanos()).unwrap_or(u64::MAX);
        min + Duration::from_nanos(self.below(width.saturating_add(1)))
    }

    /// True once in `n` times; never if `n` is 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_of_split_mix() {
        let mut state = 1_234_567;
        let numbers: [u64; 3] = std::array::from_fn(|_| split_mix(&mut state));
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn known_numbers_of_xoshiro() {
        let mut random = Random { state: [1, 2, 3, 4] };
        let numbers: [u64; 5] = std::array::from_fn(|_| random.next_u64());
        assert_eq!(numbers, [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240, 1_216_172_134_540_287_360]);
    }

    #[test]
    fn numbers_are_below_and_even() {
        let mut random = Random::from_seed(7);
        let mut counts = [0; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!((random.below(0), random.below(1)), (0, 0));
        assert!((0..1000).all(|_| random.below(u64::MAX) < u64::MAX));
    }

    #[test]
    fn durations_stay_in_their_range() {
        let mut random = Random::from_seed(8);
        let (min, max) = (Duration::from_nanos(6), Duration::from_nanos(10));
        let drawn: std::collections::BTreeSet<Duration> = (0..1000).map(|_| random.duration(min, max)).collect();
        assert_eq!(drawn.len(), 5);
        assert_eq!((drawn.first(), drawn.last()), (Some(&min), Some(&max)));
        assert_eq!(random.duration(max, min), max);
    }

    #[test]
    fn the_operating_system_gives_another_seed_each_time() {
        assert_ne!(Random::from_os().next_u64(), Random::from_os().next_u64());
        assert_eq!(Random::from_seed(5).next_u64(), Random::from_seed(5).next_u64());
    }
}
