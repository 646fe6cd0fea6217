//! Stateful fakes of clouds' APIs, over TLS on loopback. They show that a client speaks a cloud's language, and keeps
//! its promises while the cloud doesn't answer. How a cloud itself behaves they don't prove.

pub mod azure;
mod exchanges;
mod outage;
mod server;

pub use azure::FakeAzure;
pub use exchanges::Exchange;
pub use outage::Outage;
