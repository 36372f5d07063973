//! A port of a Service on this machine, by `kubectl port-forward`, which ends when the pod behind it does.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use test_support::{Process, Spawn, free_port, wait_until};
use tokio::{net::TcpStream, task::JoinHandle};

use super::kubectl::Kubectl;

/// How long it may take until the port answers.
const LIMIT: Duration = Duration::from_mins(1);
/// How often somebody looks whether it still runs.
const LOOK: Duration = Duration::from_millis(200);

/// A forwarded port; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Forward {
    address: SocketAddr,
    keeper: JoinHandle<()>,
}

impl Forward {
    /// Starts it; one that ends is started again on the same port.
    pub(crate) async fn start(
        kubectl: &Kubectl,
        namespace: &str,
        service: &str,
        port: u16,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let (program, words) = kubectl.words();
        let spawn = Spawn::new(program)
            .args(words)
            .args(["-n", namespace, "port-forward", "--address", "127.0.0.1"])
            .args([format!("service/{service}"), format!("{}:{port}", address.port())])
            .log(dir.join(format!("forward-{service}-{port}.log")));
        let process = spawn.start().await?;
        let keeper = tokio::spawn(keep(spawn, process));
        let forward = Self { address, keeper };
        wait_until(LIMIT, &format!("the port {port} of {namespace}/{service}"), async || {
            TcpStream::connect(address).await.ok().map(drop)
        })
        .await?;
        Ok(forward)
    }

    /// Where the port is on this machine.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Dropping the process kills it, so aborting this task ends the forwarding.
async fn keep(spawn: Spawn, mut process: Process) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        if process.is_running() {
            continue;
        }
        // While there is no pod it ends at once; the next look starts it again.
        if let Ok(next) = spawn.start().await {
            process = next;
        }
    }
}
