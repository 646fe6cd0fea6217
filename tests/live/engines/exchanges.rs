//! Belay's requests to clouds, stored in the folder that `EXCHANGES` names: `make clouds` checks them against the
//! clouds' own models.

use std::{fmt::Write as _, path::PathBuf};

use testenv::clouds::Exchange;

/// Stores the exchanges with a cloud of the test with this namespace.
pub fn keep(cloud: &str, namespace: &str, exchanges: &[Exchange]) {
    let Some(folder) = std::env::var_os("EXCHANGES") else {
        return;
    };
    let mut lines = String::new();
    for exchange in exchanges {
        let line = serde_json::to_string(exchange).expect("JSON");
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{line}");
    }
    let file = PathBuf::from(folder).join(format!("{cloud}-{namespace}.jsonl"));
    std::fs::write(file, lines).expect("written");
}
