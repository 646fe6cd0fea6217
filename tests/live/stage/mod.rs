//! What all tests use: a control plane, an operator for the namespace of a test, what users do there, and what they
//! see.

pub mod actions;
pub mod belay;
pub mod changes;
pub mod operators;
pub mod plugin;
pub mod proxy;
pub mod refusing;
pub mod seen;
pub mod state;
pub mod terminal;
pub mod users;
pub mod world;
