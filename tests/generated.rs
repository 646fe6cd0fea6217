//! Checks that the committed generated files are up to date.

use std::{collections::BTreeSet, fs, path::Path};

fn check(folder: &str, generated: Vec<(String, String)>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let names: BTreeSet<_> = generated.iter().map(|(name, _)| name.clone()).collect();
    let files = fs::read_dir(&folder).expect("the folder");
    let committed: BTreeSet<_> = files
        .map(|file| file.expect("a file").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    assert_eq!(committed, names, "run make generate");
    for (name, generated) in generated {
        let path = folder.join(name);
        let committed = fs::read_to_string(&path).unwrap_or_default();
        let path = path.display();
        assert!(
            committed == generated,
            "{path} is not up to date: run make generate"
        );
    }
}

#[test]
fn the_committed_crds_match_the_types() {
    check("crds", belay::api::crd_files().expect("the definitions"));
}

#[test]
fn the_committed_policies_match_the_rules() {
    let policies = belay::admission::policy_files();
    check("policies", policies.expect("the policies"));
}

#[test]
fn the_plugins_page_matches_its_help() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kubectl-belay.md");
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed.trim_end() == belay::cli::reference().trim_end(),
        "docs/kubectl-belay.md is not up to date: run make generate"
    );
}
