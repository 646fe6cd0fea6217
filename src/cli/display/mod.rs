//! What several commands show: a cluster, the progress of an Operation, and screens that change.

pub mod cluster_text;
pub mod follow;
pub mod foreseen;
pub mod progress;
pub mod screen;
