//! From the configuration to running tasks, and the order of start and stop.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::Context as _;
use operator_cluster::{
    Fence, Reader, Writer,
    client::{self, Clients, RequestCounts},
    events::Recorder,
    lease::{self, Leadership, LeaseSpec},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    config::Config,
    definition, homeserver, http,
    lanes::Queue,
    observe::metrics::Metrics,
    reconcile::Reconciler,
    report::Reporter,
    rollout::{self, Fleet},
    state::State,
    watches::{self, Listener, Watches},
};

/// What the operator calls itself in events.
const CONTROLLER: &str = "bridges.meldry.com/dingtalk-operator";

/// Questions to homeservers at the same time, and as many to bridges.
const QUESTIONS: usize = 64;

/// How long passes under way may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(20);

/// Where the cluster is, when not around this process.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) context: Option<String>,
}

/// Runs until SIGTERM or Ctrl-C.
pub(crate) async fn run(config: Config, place: Place) -> anyhow::Result<()> {
    let counts = RequestCounts::default();
    let source = match (place.kubeconfig, place.context) {
        (None, None) => client::Source::Infer,
        (path, context) => client::Source::Kubeconfig { path, context },
    };
    let fence = if config.settings.leader_election.enabled { Fence::closed() } else { Fence::open() };
    let options = client::Options {
        source,
        user_agent: concat!("dingtalk-operator/", env!("CARGO_PKG_VERSION")).to_owned(),
        timeout: Duration::from_secs(10),
        counts: counts.clone(),
    };
    let writes =
        client::connect_behind(&options, &fence).await.context("connecting to the cluster for writes")?;
    let clients = client::connect(options).await.context("connecting to the cluster")?;
    let settings = &config.settings;
    let namespace = std::env::var("POD_NAMESPACE").unwrap_or_else(|_| clients.namespace.clone());
    let namespaces =
        if settings.namespaces.is_empty() { vec![namespace.clone()] } else { settings.namespaces.clone() };
    let listener = TcpListener::bind(settings.health.listen)
        .await
        .with_context(|| format!("operator.health.listen {}", settings.health.listen))?;

    let stop = CancellationToken::new();
    let identity = std::env::var("POD_NAME").unwrap_or_else(|_| format!("process-{}", std::process::id()));
    let reconciler = Arc::new(Reconciler {
        state: State::default(),
        queue: Queue::new(settings.concurrency),
        platform: config.platform.clone(),
        namespace: namespace.clone(),
        http_routes: AtomicBool::new(false),
        http_routes_wanted: Notify::new(),
        writer: Writer::new(writes, dingtalk_crds::names::FIELD_MANAGER, fence.clone()),
        reader: Reader::new(clients.main.clone()),
        fence: fence.clone(),
        recorder: Recorder::spawn(clients.main.clone(), CONTROLLER, &identity, stop.clone()),
        reporter: Reporter::new()?,
        fleet: Fleet::new(settings.rollout.clone(), operator_plan::release(&config.platform)),
        metrics: Metrics::new(),
        clock: Clock::default(),
        definition: watch::Sender::default(),
        resync: settings.resync(),
        homeservers: homeserver::Clients::default(),
        to_homeservers: Semaphore::new(QUESTIONS),
        to_bridges: Semaphore::new(QUESTIONS),
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), ?namespaces, "starting");

    let control = watches::Control {
        namespace: namespace.clone(),
        name: dingtalk_crds::names::rollout_config_map(&settings.leader_election.lease_name),
    };
    let (watches, mut events) = Watches::start(&clients, &namespaces, &control, &stop);
    let watches = Arc::new(watches);
    let listening = tokio::spawn({
        let reconciler = Arc::clone(&reconciler);
        async move {
            let forget = |key: &crate::key::Key| {
                reconciler.reporter.forget(key);
                reconciler.fleet.forget(key);
            };
            let listener = Listener {
                state: &reconciler.state,
                queue: &reconciler.queue,
                platform: &reconciler.platform,
                gone: &forget,
                http_routes: &reconciler.http_routes,
                fleet: &reconciler.fleet,
            };
            while let Some(message) = events.recv().await {
                listener.take(message);
            }
        }
    });
    let (synced, is_synced) = watch::channel(false);
    let pages = http::Pages {
        reconciler: Arc::clone(&reconciler),
        watches: Arc::clone(&watches),
        counts,
        synced: is_synced.clone(),
    };
    let serving = tokio::spawn(http::serve(listener, pages, stop.clone()));

    let election = elect(&clients, &config, &namespace, &identity, fence);
    let leadership = election.as_ref().map(|election| election.elector.leadership());
    let working = tokio::spawn(work(Arc::clone(&reconciler), is_synced, leadership, stop.clone()));

    tokio::spawn({
        let (watches, reconciler, stop) = (Arc::clone(&watches), Arc::clone(&reconciler), stop.clone());
        async move {
            let look = watches.look_for_http_routes(&reconciler.http_routes_wanted, &reconciler.http_routes);
            stop.run_until_cancelled(look).await
        }
    });
    tokio::spawn({
        let (reconciler, stop) = (Arc::clone(&reconciler), stop.clone());
        async move { stop.run_until_cancelled(rollout::run(reconciler)).await }
    });
    tokio::spawn({
        let (reconciler, reader, stop) =
            (Arc::clone(&reconciler), Reader::new(clients.main.clone()), stop.clone());
        async move { stop.run_until_cancelled(definition::run(reconciler, reader)).await }
    });
    tokio::select! {
        () = watches.synced() => {
            tracing::info!(objects = reconciler.state.count(), "every watch has its first list");
            synced.send_replace(true);
            asked_to_stop().await?;
        }
        asked = asked_to_stop() => asked?,
    }
    tracing::info!("stopping");
    stop.cancel();
    // Passes end before the lease is given away, so that the next one finds all that was written.
    let _ = working.await;
    if let Some(election) = election {
        election.stop.cancel();
        election.elector.stopped().await;
    }
    let _ = tokio::join!(serving, listening);
    tracing::info!("stopped");
    Ok(())
}

struct Election {
    elector: lease::Elector,
    stop: CancellationToken,
}

fn elect(
    clients: &Clients,
    config: &Config,
    namespace: &str,
    identity: &str,
    fence: Fence,
) -> Option<Election> {
    let election = &config.settings.leader_election;
    if !election.enabled {
        return None;
    }
    let spec = LeaseSpec {
        client: clients.lease.clone(),
        namespace: namespace.to_owned(),
        name: election.lease_name.clone(),
        identity: lease::identity(identity),
        timing: lease::Timing::default(),
    };
    let stop = CancellationToken::new();
    Some(Election { elector: lease::spawn(spec, fence, stop.clone()), stop })
}

/// Makes passes while this process leads.
async fn work(
    reconciler: Arc<Reconciler>,
    mut synced: watch::Receiver<bool>,
    mut leadership: Option<watch::Receiver<Leadership>>,
    stop: CancellationToken,
) {
    let mut passes = JoinSet::new();
    tokio::select! {
        _ = synced.wait_for(|synced| *synced) => {}
        () = stop.cancelled() => return,
    }
    let mut leads = false;
    loop {
        let now_leads = leadership.as_ref().is_none_or(|leadership| leadership.borrow().is_leading());
        if now_leads != leads {
            leads = now_leads;
            reconciler.metrics.leads(leads);
            tracing::info!(leads, "leadership");
            if leads {
                reconciler.begin();
            } else {
                reconciler.queue.close();
                reconciler.fleet.stand_by();
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = changed(&mut leadership) => {}
            turn = reconciler.queue.next(), if leads => {
                passes.spawn(Arc::clone(&reconciler).turn(turn));
            }
            Some(_) = passes.join_next(), if !passes.is_empty() => {}
        }
    }
    let ended = async { while passes.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("passes did not end in {} s", GRACE.as_secs());
    }
    reconciler.metrics.leads(false);
}

/// Waits for a change of the leadership; for ever where there is no election.
async fn changed(leadership: &mut Option<watch::Receiver<Leadership>>) {
    if let Some(leadership) = leadership
        && leadership.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
