//! The time from an abort's annotation to `Canceling` and to `Canceled`, one operation at a time: with no other
//! operation, and with many operations in flight.

use crate::{
    Size,
    fleet::Fleet,
    peers::Peers,
    report::{Goal, Report},
    seed::Template,
    spread::Spread,
    stage::Stage,
    turns::{FLOOR, OfPeers, Times, Turns},
};

const BELAY: &str = "belay";

/// Measures both.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    for name in [BELAY, FLOOR] {
        stage.namespace(name).await?;
    }
    let operator = stage.operate_in(BELAY)?;
    let turns = Turns::prepare(&stage, BELAY).await?;
    let peers = Peers::start(&stage).await?;
    let times = turns.take("alone", size.rounds, Some(&peers)).await?;
    drop(peers);
    note(report, "an abort", &times, [1.25, 1.5, 2.0]);
    if let Some(of_peers) = &times.peers {
        note_peers(report, &times.belay.canceled, of_peers);
    }
    drop(operator);
    let template = Template::make(&stage, 1).await?;
    template.copy(&stage, BELAY, 0..size.clusters, 2).await?;
    let _operator = stage.operate_in(BELAY)?;
    let hanging = Fleet::of(&stage.client, BELAY).hang(size.clusters).await?;
    let times = turns.take("beside", size.rounds, None).await?;
    let what = format!("an abort beside {} operations in flight", hanging.len());
    note(report, &what, &times, [3.0, 3.0, 3.0]);
    Ok(())
}

fn note(report: &mut Report, what: &str, times: &Times, [first, median, most]: [f64; 3]) {
    let mut note = |end: &str, belay: &Spread, floor: &Spread, percent: usize, goal: f64| {
        report.note(
            &format!("{what} to {end}, {percent} %"),
            belay.to_string(),
            format!("a bare loop: {floor}"),
            Some(belay.ratio(floor, percent)),
            Some(Goal::AtMost(goal)),
        );
    };
    let (belay, floor) = (&times.belay, &times.floor);
    note("Canceling", &belay.canceling, &floor.canceling, 50, first);
    note("Canceled", &belay.canceled, &floor.canceled, 50, median);
    note("Canceled", &belay.canceled, &floor.canceled, 99, most);
}

fn note_peers(report: &mut Report, canceled: &Spread, peers: &OfPeers) {
    for (peer, of_peer, goal) in [
        ("the floor's twin by controller-runtime", &peers.twin, None),
        (
            "Argo Rollouts' abort, without pods",
            &peers.argo,
            Some(Goal::AtMost(1.0)),
        ),
        ("the Job controller's suspend", &peers.job, None),
    ] {
        report.note(
            "an abort to Canceled, 50 %",
            canceled.to_string(),
            format!("{peer}: {of_peer}"),
            Some(canceled.ratio(of_peer, 50)),
            goal,
        );
    }
}
