//! What Belay asks a cloud for, kept where `EXCHANGES` names a folder: `make clouds` checks it by the clouds' own models.

use std::{fmt::Write as _, path::PathBuf};

use testenv::clouds::Exchange;

/// Keeps what a cloud was asked for in a test of that namespace.
pub fn keep(cloud: &str, namespace: &str, exchanges: &[Exchange]) {
    let Some(folder) = std::env::var_os("EXCHANGES") else {
        return;
    };
    let mut lines = String::new();
    for exchange in exchanges {
        let line = serde_json::to_string(exchange).expect("JSON");
        // A text takes all.
        let _ = writeln!(lines, "{line}");
    }
    let file = PathBuf::from(folder).join(format!("{cloud}-{namespace}.jsonl"));
    std::fs::write(file, lines).expect("written");
}
