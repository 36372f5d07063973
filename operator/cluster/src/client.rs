//! Clients of the API server: bounded in time, counted, and without silent repetitions.

mod bounds;
mod counts;

use std::{
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use hyper::rt::Executor;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::{BoxError, Service};

use self::bounds::Bounds;
pub use self::{
    bounds::Within,
    counts::{Count, Outcome, RequestCounts, Verb, Why},
};
use crate::{Fence, request::chain};

/// How long a call may take when nobody says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a call about a lease may take: short, so that there is a second chance before the deadline.
const LEASE_TIMEOUT: Duration = Duration::from_millis(2500);

/// Where the API server is and who calls it.
#[derive(Clone, Debug, Default)]
pub enum Source {
    /// The kubeconfig that is there, else the pod's service account.
    #[default]
    Infer,
    /// The pod's service account.
    InCluster,
    /// A kubeconfig.
    Kubeconfig {
        /// Its path; that of `KUBECONFIG` or the home directory when `None`.
        path: Option<PathBuf>,
        /// The context in it; its current one when `None`.
        context: Option<String>,
    },
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to.
    pub source: Source,
    /// What to call ourselves, as `name/version`.
    pub user_agent: String,
    /// The bound of one call, its body included; of a watch, only of its head.
    pub timeout: Duration,
    /// Where calls are counted.
    pub counts: RequestCounts,
}

/// The clients of one process.
#[derive(Clone)]
pub struct Clients {
    /// For all but leases, and but what has to end with the leadership: [`connect_behind`].
    pub main: Client,
    /// For leases: connections of its own, so that they do not wait behind anything, and a shorter bound.
    pub lease: Client,
    /// The namespace of the pod, or of the context.
    pub namespace: String,
    /// Address of the API server.
    pub url: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

/// Builds a client for writes, whose connections do nothing while the fence is closed.
///
/// A process that was frozen goes on where it was, with requests that are on their way to a connection, before any of its
/// timers tells that its time is over. So each connection asks the fence, by the clock, whenever it is about to do something.
pub async fn connect_behind(options: &Options, fence: &Fence) -> Result<Client, ConnectError> {
    let mut config = prepare(options).await?;
    config.connect_timeout = Some(options.timeout);
    let executor = Fenced(fence.clone());
    let builder = ClientBuilder::try_from((config, executor)).map_err(|error| ConnectError(chain(&error)))?;
    Ok(builder.with_layer(&Bounds::new(options.timeout, options.counts.clone())).build())
}

/// Runs connections as long as a fence is open; then they are dropped, with what they have not sent.
#[derive(Clone)]
struct Fenced(Fence);

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Executor<Connection> for Fenced {
    fn execute(&self, connection: Connection) {
        tokio::spawn(WhileOpen { fence: self.0.clone(), connection });
    }
}

struct WhileOpen {
    fence: Fence,
    connection: Connection,
}

impl Future for WhileOpen {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.fence.is_open() { self.connection.as_mut().poll(cx) } else { Poll::Ready(()) }
    }
}

/// Builds the clients. Nothing is sent yet.
pub async fn connect(options: Options) -> Result<Clients, ConnectError> {
    let config = prepare(&options).await?;
    let build = |timeout: Duration| -> Result<Client, ConnectError> {
        let mut config = config.clone();
        config.connect_timeout = Some(timeout);
        let builder = ClientBuilder::try_from(config).map_err(|error| ConnectError(chain(&error)))?;
        Ok(builder.with_layer(&Bounds::new(timeout, options.counts.clone())).build())
    };
    Ok(Clients {
        main: build(options.timeout)?,
        lease: build(options.timeout.min(LEASE_TIMEOUT))?,
        namespace: config.default_namespace.clone(),
        url: config.cluster_url.to_string(),
    })
}

/// Where to connect, and as whom.
async fn prepare(options: &Options) -> Result<Config, ConnectError> {
    // An error means that there is one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = configuration(&options.source).await?;
    config.default_retry = false;
    let agent = options
        .user_agent
        .parse()
        .map_err(|_| ConnectError(format!("`{}` cannot be a user agent", options.user_agent)))?;
    config.headers.push((header::USER_AGENT, agent));
    Ok(config)
}

/// A client over any HTTP service, with the same bounds and counts.
pub fn over<S, B>(service: S, timeout: Duration, counts: RequestCounts) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    ClientBuilder::new(service, "default").with_layer(&Bounds::new(timeout, counts)).build()
}

async fn configuration(source: &Source) -> Result<Config, ConnectError> {
    match source {
        Source::Infer => Config::infer().await.map_err(|error| ConnectError(chain(&error))),
        Source::InCluster => Config::incluster().map_err(|error| ConnectError(chain(&error))),
        Source::Kubeconfig { path, context } => {
            let kubeconfig = match path {
                Some(path) => Kubeconfig::read_from(path),
                None => Kubeconfig::read(),
            };
            let kubeconfig = kubeconfig.map_err(|error| ConnectError(chain(&error)))?;
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|error| ConnectError(chain(&error)))
        }
    }
}
