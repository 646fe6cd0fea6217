//! The one place where the time is read.

use jiff::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
