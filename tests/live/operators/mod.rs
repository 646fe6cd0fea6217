//! How one or more operators run: leases, shards, restarts, and how they bear faults of others.

pub mod check;
pub mod hostile;
pub mod isolated;
pub mod leader;
pub mod other_shards;
pub mod quiet;
pub mod releases;
pub mod requests;
pub mod restart;
pub mod shard_numbers;
pub mod shards;
