//! The network between an operator and the API server: a relay that can stop forwarding while its connections stay
//! open.

use std::{net::Ipv4Addr, path::PathBuf};

use kube::config::Kubeconfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// A relay of TCP connections.
pub struct Network {
    passes: watch::Sender<bool>,
    pub kubeconfig: PathBuf,
    _folder: tempfile::TempDir,
}

impl Network {
    /// Starts a relay in front of the API server of that kubeconfig.
    pub async fn in_front_of(kubeconfig: Kubeconfig) -> Self {
        Self::limited_to(usize::MAX, kubeconfig).await
    }

    /// Starts a relay that forwards about this many bytes of each connection to the API server.
    pub async fn limited_to(bytes: usize, kubeconfig: Kubeconfig) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let here = listener.local_addr().expect("an address");
        let mut config = serde_json::to_value(&kubeconfig).expect("a kubeconfig");
        let server = &mut config["clusters"][0]["cluster"]["server"];
        let target = server.as_str().expect("an address");
        let target = target.trim_start_matches("https://").to_owned();
        *server = format!("https://{here}").into();
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, config.to_string()).expect("written");
        let (passes, passing) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, passing) = (target.clone(), passing.clone());
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(&target).await {
                        join(near, far, bytes, passing).await;
                    }
                });
            }
        });
        Self {
            passes,
            kubeconfig,
            _folder: folder,
        }
    }

    /// Forwards nothing from now on. The connections stay open.
    pub fn cut(&self) {
        self.passes.send_replace(false);
    }

    /// Forwards again. Bytes that were sent in the meantime come first.
    pub fn restore(&self) {
        self.passes.send_replace(true);
    }
}

async fn join(near: TcpStream, far: TcpStream, limit: usize, passes: watch::Receiver<bool>) {
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    let forward = relay(from_near, to_far, limit, passes.clone());
    let backward = relay(from_far, to_near, usize::MAX, passes);
    // If one side closes, the other side is closed as well.
    tokio::select! {
        () = forward => {}
        () = backward => {}
    }
}

async fn relay(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    limit: usize,
    mut passes: watch::Receiver<bool>,
) {
    let (mut bytes, mut passed) = (vec![0; 16 * 1024], 0);
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if passes.wait_for(|passes| *passes).await.is_err() {
            return;
        }
        // Bytes beyond the limit are lost, but the end of the connection is forwarded.
        if passed < limit && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
        passed += read;
    }
    // The end of a connection waits like its bytes.
    let _ = passes.wait_for(|passes| *passes).await;
}
