//! What is generated is what is committed.

#[test]
fn crds_are_what_the_types_generate() {
    for (name, generated) in belay::api::crd_files().expect("the definitions") {
        let path = format!("{}/crds/{name}", env!("CARGO_MANIFEST_DIR"));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == generated,
            "crds/{name} is not up to date: run make generate"
        );
    }
}
