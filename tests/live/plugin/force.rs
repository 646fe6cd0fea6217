//! `kubectl belay force`: the preview, the annotation, and what other commands show of it.

use std::sync::Arc;

use belay::api::ForceStatus;

use crate::stage::{
    belay::{Belay, World},
    plugin::{run, text},
};

impl Belay {
    async fn force_is(&self, operation: &str, status: ForceStatus) {
        self.eventually(&format!("the force is {status:?}"), || async {
            let force = self.status(operation).await.force;
            force.is_some_and(|force| force.status == status)
        })
        .await;
    }
}

pub async fn force_shows_the_budgets_that_it_passes_over_and_can_be_ended(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    belay.start_operator_with(&[("BELAY_FORCE_AFTER_SECONDS", "3600")]);
    let upgrade = belay.blocked_upgrade().await;
    let why = text(&run(&belay, &["why", &upgrade]).await.stdout);
    let suggested = format!("kubectl belay force {upgrade} --for 30m");
    assert!(why.contains(&suggested), "{why}");
    // Nobody can be asked.
    let asked = run(&belay, &["force", &upgrade, "--for", "30m"]).await;
    assert_eq!(asked.status.code(), Some(1));
    let error = text(&asked.stderr);
    assert!(error.contains("add --yes"), "{error}");
    assert_eq!(belay.status(&upgrade).await.force, None);
    let forced = run(&belay, &["force", &upgrade, "--for", "30m", "--yes"]).await;
    let shown = text(&forced.stdout);
    assert_eq!(
        forced.status.code(),
        Some(0),
        "{shown}{}",
        text(&forced.stderr)
    );
    let budget = format!("{}/web protects 2 pods: ", belay.namespace);
    assert!(shown.contains(&budget), "{shown}");
    belay.force_is(&upgrade, ForceStatus::InEffect).await;
    for command in [
        &["status", "demo"][..],
        &["why", &upgrade],
        &["operation", "show", &upgrade],
    ] {
        let shown = text(&run(&belay, command).await.stdout);
        assert!(shown.contains("Forced until "), "{command:?}: {shown}");
    }
    let ended = run(&belay, &["force", &upgrade, "--end"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    belay.force_is(&upgrade, ForceStatus::Ended).await;
    for (flags, says) in [
        (&["--for", "25h", "--yes"][..], "more than 24 hours ahead"),
        (
            &["--until", "2020-01-01T00:00:00Z", "--yes"][..],
            "has passed",
        ),
        (&[][..], "--for"),
    ] {
        let refused = run(&belay, &[&["force", &upgrade][..], flags].concat()).await;
        assert_ne!(refused.status.code(), Some(0));
        let error = text(&refused.stderr);
        assert!(error.contains(says), "{error}");
    }
}
