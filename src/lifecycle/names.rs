//! Deterministic names: made again after a crash, a name is the same. So a second creation gets `AlreadyExists`, and
//! no object exists twice.

use std::hash::Hasher as _;

/// Letters and digits without vowels and similar-looking characters, like Kubernetes' own suffixes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// A node's name becomes the label `kubernetes.io/hostname`.
const LONGEST: usize = 63;

/// Returns `prefix-xxxxx`, with a suffix made from `parts`.
pub fn suffixed(prefix: &str, parts: &[&str]) -> String {
    let mut hasher = fnv::FnvHasher::default();
    for part in parts {
        hasher.write(part.as_bytes());
        hasher.write_u8(0);
    }
    let mut hash = hasher.finish();
    let suffix: String = (0..SUFFIX_LENGTH)
        .map(|_| {
            let letter = usize::try_from(hash % 27).unwrap_or_default();
            hash /= 27;
            char::from(ALPHABET[letter])
        })
        .collect();
    let kept = prefix.len().min(LONGEST - SUFFIX_LENGTH - 1);
    format!("{}-{suffix}", prefix[..kept].trim_end_matches(['-', '.']))
}

/// Returns a short text that differs if `text` differs.
pub(super) fn fingerprint(text: &str) -> String {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(text.as_bytes());
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_give_equal_names_and_different_parts_different_names() {
        let name = suffixed("demo-np1", &["uid", "0"]);
        assert_eq!(name, suffixed("demo-np1", &["uid", "0"]));
        assert_ne!(name, suffixed("demo-np1", &["uid", "1"]));
        assert_ne!(suffixed("a", &["ab", "c"]), suffixed("a", &["a", "bc"]));
    }

    #[test]
    fn a_name_fits_into_a_label() {
        let name = suffixed(&"a".repeat(120), &["uid"]);
        assert_eq!(name.len(), 63);
    }
}
