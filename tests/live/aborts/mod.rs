//! What an abort stops, what it leaves behind, and who may abort.

pub mod abort;
pub mod late;
pub mod left_behind;
pub mod replacing;
pub mod target_abort;
pub mod who_may_abort;
