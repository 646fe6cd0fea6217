//! A name for this process in the Lease.

use std::hash::{BuildHasher as _, RandomState};

/// Returns the name of the pod or host and a random part that no other process has: a container that restarts in the
/// same pod is another holder.
pub fn new_identity() -> String {
    let host = std::env::var("HOSTNAME").ok();
    let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host = host.as_deref().map_or("belay", str::trim);
    // The keys of a new hash state are random.
    format!(
        "{host}_{:016x}",
        RandomState::new().hash_one(std::process::id())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_processes_have_the_same_name() {
        assert_ne!(new_identity(), new_identity());
    }
}
