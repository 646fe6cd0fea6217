//! Nodes that others change or that break, missing data about nodes, and nodes of kwok.

pub mod changed;
pub mod disturbed;
pub mod kwok;
pub mod no_data;
