//! How operators run: leases, shards, restarts, releases, isolation from faults of others, `belay check`.

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
