//! The commands of the kubectl plugin, on a terminal and in pipes.

use std::{io::Write as _, sync::Arc};

use belay::api::{ManagedCluster, OperationPhase, OperationType};
use kube::api::PostParams;
use serde_json::json;

use crate::stage::{
    belay::{Belay, KUBECTL_PATIENCE, World},
    plugin::{self, run, text},
    terminal::{CTRL_C, Terminal, words},
};

/// Creates a cluster whose upgrade is blocked by a PDB, and waits until its status shows why. Returns the upgrade's
/// name.
async fn blocked_upgrade(belay: &Belay) -> String {
    let operation = belay.blocked_upgrade_of(3, 3).await;
    let is_shown = || async {
        let pool = belay.pool("np1").await.status.unwrap_or_default();
        let cluster = json!(belay.cluster().await.status);
        pool.ready_count == 4 && cluster.to_string().contains("is blocked")
    };
    belay
        .eventually("the cluster's status shows the block", is_shown)
        .await;
    operation
}

/// Returns a text without the parts that differ in each run: generated names and times.
fn stable(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line.split(' ').filter(|word| !is_spinner(word));
        words.map(stable_word).collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the text of a screen, wrapped again, because the length of names changes the line breaks.
fn stable_screen(screen: &str) -> String {
    let options = textwrap::Options::new(100).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(&stable(&words(screen)), options)
}

fn stable_word(word: &str) -> String {
    let is_end = |letter: char| !letter.is_ascii_alphanumeric() && letter != '/' && letter != '-';
    let bare = word.trim_matches(is_end);
    let is_time = bare.starts_with(|letter: char| letter.is_ascii_digit())
        && (bare.ends_with(['s', 'm']) || bare.matches(':').count() == 2);
    if is_time {
        return word.replace(bare, "TIME");
    }
    let generated = ["demo-upgrade-", "np1-", "team-", "web-"]
        .iter()
        .find_map(|prefix| Some((bare.split_once(prefix)?, prefix)));
    match generated {
        Some(((before, after), prefix)) => {
            let name = if after.contains('/') { "/NAME" } else { "" };
            word.replace(bare, &format!("{before}{prefix}X{name}"))
        }
        None => word.to_owned(),
    }
}

fn is_spinner(word: &str) -> bool {
    let is_braille = |letter: char| ('\u{2800}'..'\u{2900}').contains(&letter);
    !word.is_empty() && word.chars().all(is_braille)
}

/// Creates a cluster and a pool `np1` with this many nodes by `kubectl apply`, and waits until the pool is ready. An
/// Operation may change the fields that kubectl owns.
async fn create_cluster_with_kubectl(belay: &Belay, count: usize) {
    let manifest = format!(
        "{{apiVersion: belay.dev/v1alpha1, kind: ManagedCluster, metadata: {{name: demo}}, \
         spec: {{kubernetesVersion: 1.35.7, provider: {{kwok: {{nodeProvisioningTime: 50ms}}}}}}}}\n---\n\
         {{apiVersion: belay.dev/v1alpha1, kind: AgentPool, metadata: {{name: np1}}, \
         spec: {{clusterName: demo, count: {count}}}}}\n"
    );
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(manifest.as_bytes()).expect("written");
    belay.kubectl(&["apply", "-f", &file.path().display().to_string()]);
    belay.pool_is_ready("np1").await;
}

pub async fn a_terminal_shows_a_live_progress_bar_and_the_block(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    blocked_upgrade(&belay).await;
    for columns in [80, 120] {
        let mut terminal = Terminal::run(&belay, columns, &["status", "demo", "-w"]);
        terminal
            .shows("To stop it kubectl belay abort cluster demo")
            .await;
        terminal.shows("Blocked for").await;
        assert!(terminal.is_coloured());
        let shown = stable_screen(&terminal.text());
        insta::assert_snapshot!(format!("status_on_{columns}_columns"), shown);
        terminal.types(CTRL_C).await;
        let (status, left) = terminal.end().await;
        assert_eq!(status.code(), Some(130), "{left}");
        assert!(
            left.contains("Blocked for"),
            "the last state stays on the screen:\n{left}"
        );
    }
}

pub async fn a_pipe_gets_a_line_for_each_change(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = blocked_upgrade(&belay).await;
    let mut command = plugin::command(
        &belay,
        &["operation", "wait", &operation, "--for", "canceled"],
    );
    let follower = tokio::task::spawn_blocking(move || command.output());
    let aborted = run(&belay, &["abort", "cluster", "demo", "--yes", "--wait"]).await;
    assert_eq!(aborted.status.code(), Some(0), "{}", text(&aborted.stderr));
    let followed = follower.await.expect("the task ends").expect("runs");
    let lines = text(&followed.stdout);
    assert_eq!(followed.status.code(), Some(0), "{lines}");
    let last = lines.lines().last().expect("a line");
    assert!(
        last.contains(&operation) && last.contains("Canceled"),
        "{lines}"
    );
    let mut distinct: Vec<_> = lines
        .lines()
        .map(|line| line.split_once(' ').map(|(_, rest)| rest))
        .collect();
    distinct.dedup();
    assert_eq!(
        distinct.len(),
        lines.lines().count(),
        "each line differs from the line before:\n{lines}"
    );
    assert!(
        !lines.contains('\x1b') && !text(&aborted.stdout).contains('\x1b'),
        "no colours: {lines}"
    );
    let late = run(&belay, &["abort", "operation", &operation, "--yes"]).await;
    assert_eq!(
        late.status.code(),
        Some(0),
        "the Operation is already Canceled, so this is no error"
    );
    // The Operation shows its end a little before the cluster's lock is free.
    belay.lock_is_free().await;
    let late = run(&belay, &["abort", "cluster", "demo", "--yes"]).await;
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("no operation is in flight on ManagedCluster demo"));
}

pub async fn an_abort_shows_what_it_leaves_behind_and_asks_for_confirmation(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = blocked_upgrade(&belay).await;
    let question = format!("Abort Operation {operation}? [y/N]");
    let arguments = [
        "abort",
        "cluster",
        "demo",
        "--wait",
        "--reason",
        "stuck on a PDB",
    ];

    let mut terminal = Terminal::run(&belay, 80, &arguments);
    terminal.shows(&question).await;
    terminal.types("n\n").await;
    let (status, screen) = terminal.end().await;
    assert_eq!(status.code(), Some(1), "{screen}");
    assert_eq!(
        belay.status(&operation).await.phase,
        OperationPhase::InProgress
    );

    let without_terminal = run(&belay, &arguments).await;
    assert_eq!(
        without_terminal.status.code(),
        Some(1),
        "the plugin cannot ask for confirmation in a pipe"
    );
    assert!(
        text(&without_terminal.stderr).contains("add --yes"),
        "{}",
        text(&without_terminal.stderr)
    );
    assert_eq!(
        belay.status(&operation).await.phase,
        OperationPhase::InProgress
    );

    let mut terminal = Terminal::run(&belay, 80, &arguments);
    terminal.shows(&question).await;
    let shown = stable_screen(&terminal.text());
    insta::assert_snapshot!("an_abort_on_80_columns", shown);
    terminal.types("y\n").await;
    let (status, screen) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{screen}");
    assert!(
        words(&screen).contains("Canceled stuck on a PDB"),
        "{screen}"
    );
    let cancellation = belay.status(&operation).await.cancellation;
    assert_eq!(
        cancellation.expect("a cancellation").reason,
        "stuck on a PDB"
    );
    belay.check_history();
}

pub async fn a_second_abort_without_after_step_ends_the_operation_at_once(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = blocked_upgrade(&belay).await;
    let after_step = ["abort", "cluster", "demo", "--yes", "--after-step"];
    let after_step = run(&belay, &after_step).await;
    assert_eq!(
        after_step.status.code(),
        Some(0),
        "{}",
        text(&after_step.stderr)
    );
    belay
        .is_in_phase(&operation, OperationPhase::Canceling)
        .await;
    let at_once = run(&belay, &["abort", "cluster", "demo", "--yes", "--wait"]).await;
    assert_eq!(at_once.status.code(), Some(0), "{}", text(&at_once.stderr));
    belay.check_history();
}

pub async fn the_command_that_why_suggests_unblocks_the_upgrade(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = blocked_upgrade(&belay).await;
    let why = run(&belay, &["why", "demo"]).await;
    let shown = text(&why.stdout);
    assert_eq!(why.status.code(), Some(0), "{shown}");
    insta::assert_snapshot!("why_in_a_pipe", stable(&shown));
    let suggested = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("kubectl scale "));
    let suggested = suggested.unwrap_or_else(|| panic!("no suggested command:\n{shown}"));
    let arguments: Vec<&str> = std::iter::once("scale")
        .chain(suggested.split(' '))
        .collect();
    world.kubectl(&arguments);
    let waited = run(&belay, &["operation", "wait", &operation, KUBECTL_PATIENCE]).await;
    assert_eq!(waited.status.code(), Some(0), "{}", text(&waited.stdout));
    belay.cluster_is_ready().await;
    let why = text(&run(&belay, &["why", "demo"]).await.stdout);
    assert!(why.contains("ManagedCluster demo is Ready"), "{why}");
}

pub async fn a_repeated_command_with_the_same_operation_name_makes_one_operation(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    create_cluster_with_kubectl(&belay, 2).await;
    let scale = |count| {
        [
            "scale",
            "pool",
            "np1",
            "--count",
            count,
            "--operation",
            "more-nodes",
        ]
    };
    for _ in 0..2 {
        let scaled = run(&belay, &scale("4")).await;
        assert_eq!(scaled.status.code(), Some(0), "{}", text(&scaled.stderr));
        assert!(
            text(&scaled.stdout).contains("100%   Succeeded"),
            "{}",
            text(&scaled.stdout)
        );
    }
    assert_eq!(belay.operations(OperationType::Scale, "np1").await.len(), 1);
    assert_eq!(belay.nodes().await.len(), 4);
    let other = run(&belay, &scale("5")).await;
    assert_eq!(other.status.code(), Some(1));
    assert!(
        text(&other.stderr).contains("Operation more-nodes exists already"),
        "{}",
        text(&other.stderr)
    );
    let record = run(
        &belay,
        &["operation", "show-latest", "pool", "np1", "-o", "json"],
    )
    .await;
    let record: serde_json::Value = serde_json::from_slice(&record.stdout).expect("JSON");
    assert_eq!(record["name"], "more-nodes");
    assert_eq!(
        (&record["status"], &record["percentComplete"]),
        (&json!("Succeeded"), &json!(100))
    );
    assert!(
        record["endTime"].is_string() && record["error"].is_null(),
        "{record}"
    );
}

pub async fn ctrl_c_offers_to_abort_the_followed_operation(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    create_cluster_with_kubectl(&belay, 3).await;
    belay.create_workload(3, 3).await;
    let arguments = [
        "upgrade",
        "cluster",
        "demo",
        "--kubernetes-version",
        "1.36.3",
    ];
    let mut terminal = Terminal::run(&belay, 100, &arguments);
    terminal.shows("Blocked for").await;
    terminal.types(CTRL_C).await;
    terminal
        .shows("[a]bort it, [l]eave it running, or [f]ollow it again?")
        .await;
    terminal.types("a\n").await;
    let (status, screen) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{screen}");
    let operation = belay.operation(OperationType::Upgrade, "demo").await;
    assert_eq!(
        belay.status(&operation).await.phase,
        OperationPhase::Canceled
    );
}

pub async fn an_error_is_one_sentence_that_says_what_is_wrong(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(50, 1).await;
    belay.lock_is_free().await;
    let cases: [(&[&str], &str); 5] = [
        (
            &["status", "nope"],
            "there is no ManagedCluster nope in namespace",
        ),
        (
            &["abort", "pool", "np1", "--yes"],
            "no operation is in flight on AgentPool np1",
        ),
        (
            &["scale", "cluster", "demo", "--count", "2"],
            "only an AgentPool can be scaled",
        ),
        (
            &["upgrade", "cluster", "demo", "--kubernetes-version", "1.36"],
            "spec.kubernetesVersion: must be MAJOR.MINOR.PATCH",
        ),
        (
            &["status", "--context", "nope"],
            "kubectl config get-contexts",
        ),
    ];
    for (arguments, expected) in cases {
        let output = run(&belay, arguments).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "an error is one line: {error}");
    }
}

pub async fn status_lists_more_clusters_than_fit_in_one_page(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let clusters = belay.api::<ManagedCluster>();
    for number in 0..260 {
        let cluster = json!({
            "apiVersion": "belay.dev/v1alpha1", "kind": "ManagedCluster", "metadata": {"name": format!("c{number}")},
            "spec": {"kubernetesVersion": "1.35.7", "provider": {"kwok": {}}},
        });
        let cluster = serde_json::from_value(cluster).expect("a cluster");
        clusters
            .create(&PostParams::default(), &cluster)
            .await
            .expect("created");
    }
    let listed = text(&run(&belay, &["status"]).await.stdout);
    assert_eq!(
        listed.lines().count(),
        261,
        "one title line, and each cluster once"
    );
    let names = text(&run(&belay, &["status", "-o", "name"]).await.stdout);
    assert_eq!(names.lines().count(), 260);
    assert!(
        names
            .lines()
            .any(|name| name == "managedcluster.belay.dev/c259")
    );
    // The completion has a short timeout: if the names come too late, it offers none.
    let line = ["__complete", "--", "-n", &belay.namespace, "status", "c25"];
    belay
        .eventually("the completion offers the name", || async {
            let offered = text(&run(&belay, &line).await.stdout);
            assert!(!offered.contains("c10\n"), "{offered}");
            offered.contains("c259\n")
        })
        .await;
}
