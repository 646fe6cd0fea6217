//! Flux's two controllers.

use std::net::TcpListener;

use super::stage::Stage;

/// Installs Flux's kinds, and starts its controllers.
pub fn start(stage: &mut Stage) {
    for folder in testenv::flux_crds().expect("Flux's kinds") {
        stage.install(&folder);
    }
    let artifacts = stage.folder("artifacts");
    let temporary = stage.folder("temporary");
    // Another process may take the port first. Then source-controller ends, and its log shows this.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port");
    // Metrics and health have fixed ports, and 0 turns them off.
    let common = ["--metrics-addr=0", "--health-addr=0", "--log-level=debug"].map(String::from);
    let source = [
        format!("--storage-path={}", artifacts.display()),
        format!("--storage-addr={address}"),
        format!("--storage-adv-addr={address}"),
    ];
    let kustomize = [
        // A new commit must not wait for the health checks of the previous commit.
        "--feature-gates=CancelHealthCheckOnNewRevision=true",
        // A test must not wait for the health checks of other tests.
        "--concurrent=20",
        // How soon it looks again whether another Kustomization is ready. By default, this takes 30 seconds.
        "--requeue-dependency=1s",
    ]
    .map(String::from);
    for (name, own) in [
        ("source-controller", &source[..]),
        ("kustomize-controller", &kustomize[..]),
    ] {
        let program = testenv::binary(name).unwrap_or_else(|error| panic!("{error}"));
        let args = [&common, own].concat();
        let environment = [("TMPDIR", temporary.as_os_str())];
        stage.start_process(&program, name, &args, &environment);
    }
}
