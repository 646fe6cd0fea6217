//! What happens to nodes that others change, and to nodes of kwok.

pub mod changed;
pub mod disturbed;
pub mod kwok;
pub mod no_data;
