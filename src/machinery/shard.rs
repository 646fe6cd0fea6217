//! A shard is a part of all clusters. Only the namespace and name of a cluster decide which shard it is in.

use std::{fmt, hash::Hasher as _};

use fnv::FnvHasher;

/// The highest number of shards.
pub const MOST_SHARDS: u32 = 64;

/// Shard `number` of `of` shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard {
    number: u32,
    of: u32,
}

impl Shard {
    /// Returns all shards of a division into `of` shards, at least one.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        let of = of.max(1);
        (0..of).map(move |number| Self { number, of })
    }

    /// Returns whether a cluster is in it.
    pub fn has(&self, namespace: &str, cluster: &str) -> bool {
        hash(namespace, cluster) % u64::from(self.of) == u64::from(self.number)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.number, self.of)
    }
}

/// Returns the FNV-1a hash of `namespace/name`, mixed, because its low bits depend only on the low bits of the
/// characters. It must be the same in all versions: two replicas of different versions must agree.
fn hash(namespace: &str, name: &str) -> u64 {
    let mut hasher = FnvHasher::default();
    for part in [namespace, "/", name] {
        hasher.write(part.as_bytes());
    }
    let hash = hasher.finish();
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_cluster_never_changes() {
        let golden = [
            ("", "", 0xdd5b_2165_bc28_d44a),
            ("team-a", "demo", 0xea2c_f675_e8c0_4c9f),
            ("team-b", "demo", 0xa338_9c1a_3475_35e9),
            ("team-a", "prod-eu-1", 0x36e7_3957_6972_6891),
            ("a", "b-c", 0x1018_89ce_dc03_2498),
            ("a-b", "c", 0xca99_bbb0_22e3_cf32),
        ];
        for (namespace, name, expected) in golden {
            let hash = hash(namespace, name);
            assert_eq!(hash, expected, "{namespace}/{name}");
        }
        let shard = |of| Shard::all(of).find(|shard| shard.has("team-a", "demo"));
        let names = [1, 2, 3, 4, 64].map(|of| shard(of).expect("a shard").to_string());
        assert_eq!(names, ["0-of-1", "1-of-2", "1-of-3", "3-of-4", "31-of-64"]);
    }

    #[test]
    fn a_cluster_is_in_exactly_one_shard_and_shards_are_balanced() {
        // Names that differ in a digit, and in letters whose lowest bits are the same.
        let digits = (0..2000).map(|number| format!("cluster-{number:04}"));
        let letters = ["a", "c", "e", "g", "i", "k", "m", "o", "q", "s", "u", "w"];
        let letters = letters.iter().flat_map(|one| {
            let pairs = letters.iter().map(move |other| format!("{one}{other}"));
            pairs.flat_map(|pair| (0..14).map(move |number| format!("{pair}-{}", 2 * number)))
        });
        let names: Vec<_> = digits.chain(letters).collect();
        for of in [1, 2, 3, 4, 8, 16] {
            let mut counts = vec![0_usize; of as usize];
            for name in &names {
                let shards = Shard::all(of).filter(|shard| shard.has("team-a", name));
                let shards: Vec<_> = shards.collect();
                assert_eq!(shards.len(), 1, "{name} of {of}");
                counts[shards[0].number as usize] += 1;
            }
            let fair = names.len() / of as usize;
            let is_fair = |count: &usize| (fair * 3 / 4..=fair * 5 / 4).contains(count);
            assert!(counts.iter().all(is_fair), "{counts:?}");
        }
    }
}
