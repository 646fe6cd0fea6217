//! The commands of `deploy/k9s/plugins.yaml`.

use std::collections::BTreeMap;

use clap::Parser as _;
use serde::Deserialize;

use super::Cli;

#[derive(Deserialize)]
struct File {
    plugins: BTreeMap<String, Key>,
}

#[derive(Deserialize)]
struct Key {
    args: Vec<String>,
}

#[test]
fn the_plugin_understands_each_command_of_k9s() {
    let text = include_str!("../../deploy/k9s/plugins.yaml");
    let file: File = serde_saphyr::from_str(text).expect("plugins");
    assert!(!file.plugins.is_empty());
    for (name, key) in file.plugins {
        // `kubectl belay WORDS`, or `sh -c SCRIPT belay WORDS`.
        let words = key.args.iter().skip_while(|arg| *arg != "belay").skip(1);
        let line = std::iter::once("kubectl-belay").chain(words.map(String::as_str));
        if let Err(error) = Cli::try_parse_from(line) {
            panic!("{name}: {error}");
        }
    }
}
