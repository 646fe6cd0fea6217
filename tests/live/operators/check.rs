//! `belay check` reports whether Belay works.

use std::{process::Command, sync::Arc};

use crate::stage::belay::{Belay, World};

impl Belay {
    /// Returns whether `belay check` succeeds, and what it prints.
    fn check(&self, flags: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_belay"))
            .args(["check", "--namespace", &self.namespace])
            .args(flags)
            .env("KUBECONFIG", &self.world.kubeconfig)
            .output()
            .expect("runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

pub async fn check_reports_what_works_and_leaves_nothing_behind(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let expected = "\
        ok  the API server refuses invalid requests (policies)\n\
        ok  the API server has Belay's kinds\n\
        ok  the operator answers\n";
    assert_eq!(belay.check(&[]), (true, expected.to_owned()));
    let operations = belay.kubectl(&["get", "operations", "-o", "name"]);
    assert_eq!(operations, "");
}

pub async fn check_reports_what_is_missing_and_what_to_do(world: Arc<World>) {
    let without_policies = world.without_policies().await;
    let belay = Belay::start(&without_policies).await;
    let (succeeds, output) = belay.check(&[]);
    assert!(
        !succeeds && output.contains("`belay policies | kubectl apply -f -`"),
        "{output}"
    );
    let expected = "ok  the API server has Belay's kinds\nok  the operator answers\n";
    assert_eq!(
        belay.check(&["--without-policies"]),
        (true, expected.to_owned())
    );
    let without_operator = Belay::start_without_operator(&world).await;
    let (succeeds, output) = without_operator.check(&[]);
    assert!(
        !succeeds && output.contains("no operator answered within 40 s"),
        "{output}"
    );
    let operations = without_operator.kubectl(&["get", "operations", "-o", "name"]);
    assert_eq!(operations, "");
}
