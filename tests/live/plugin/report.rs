//! `kubectl belay report`: one page about an Operation.

use std::sync::Arc;

use crate::stage::{
    belay::{Belay, World},
    plugin::{run, text},
};

pub async fn a_report_shows_the_steps_what_blocked_them_and_who_aborted(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade_of(2, 2).await;
    belay.is_blocked(&operation).await;
    belay
        .eventually("has an Event of the block", || async {
            let events = belay.events(&operation).await;
            events
                .iter()
                .any(|(reason, _)| reason == "OperationBlocked")
        })
        .await;
    belay
        .abort(&operation, "the <b>checkout</b> service complains")
        .await;
    let canceled = belay.is_canceled(&operation).await;
    let report = run(&belay, &["report", &operation]).await;
    assert_eq!(report.status.code(), Some(0), "{}", text(&report.stderr));
    let page = text(&report.stdout);
    for step in &canceled.steps {
        assert!(page.contains(&step.name), "{page}");
    }
    for shown in [
        "Canceled, ",
        "the spec of ManagedCluster demo, generation 2",
        "policy Now",
        "the &#60;b&#62;checkout&#60;/b&#62; service complains",
        "OperationBlocked",
        "class=\"block\"",
    ] {
        assert!(page.contains(shown), "{shown} is missing:\n{page}");
    }
    let missing = run(&belay, &["report", "nothing"]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).contains("there is no"),
        "{}",
        text(&missing.stderr)
    );
}
