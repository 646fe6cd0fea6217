//! What the tests stand on: a control plane, an operator in a namespace of its own, and what people do and see there.

pub mod acts;
pub mod belay;
pub mod doors;
pub mod operators;
pub mod plugin;
pub mod proxy;
pub mod seen;
pub mod shown;
pub mod terminal;
pub mod world;
