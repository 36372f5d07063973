//! From the configuration to the running bridge, and its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::get;
use bridge_config::{AgentId, Config, WEBHOOK_PATH};
use bridge_core::clock::{Clock, Entropy, Timestamp};
use bridge_core::ghost::hex;
use bridge_core::id::{CorpId, PersonId, RobotCode};
use bridge_core::receive::Receive;
use bridge_matrix::wire::transaction::OwnUsers;
use bridge_store::{Commit, Link, LinkSource, Store};
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Parts};
use crate::away;
use crate::encryption::{self, Encryption};
use crate::http::front::Front;
use crate::http::server::{Bounds, serve};
use crate::http::{api, probes, transactions, webhook};
use crate::media::link::Links;
use crate::receiving::RECEIVE_SETTING;
use crate::registrations::{Registrations, digest};
use crate::relay::lanes::Lanes;
use crate::relay::settle::Settler;
use crate::relay::{profiles, readback, reseal, sweep};
use crate::stream;
use crate::{database, files, webhook_keys};

/// How long the end may take; the contract allows 10 s.
const END: Duration = Duration::from_secs(9);

/// Connections to the port of the probes.
const PROBE_CONNECTIONS: usize = 32;

/// Connections to the API.
const API_CONNECTIONS: usize = 32;

/// The system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The system's random numbers.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without random numbers nothing here is safe, and a system without them is broken beyond our help.
        if getrandom::fill(bytes).is_err() {
            std::process::abort();
        }
    }
}

/// Runs the bridge until it is told to stop.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a crypto provider was installed before");
    }
    let mut signals = Signals::new()?;
    let probe_listener = bind(config.health.listen, "health.listen").await?;
    let stop_probes = CancellationToken::new();
    let front = Arc::new(Front::default());
    let probes = tokio::spawn(serve(
        probe_listener,
        probes::router(Arc::clone(&front)),
        Bounds { connections: PROBE_CONNECTIONS, header_timeout: Duration::from_secs(5) },
        stop_probes.clone(),
    ));
    // A standby waits here for as long as the other process works.
    let store = tokio::select! {
        store = database::open(&config, |waiting| front.waits_for(waiting)) => store?,
        () = signals.end() => return Ok(()),
    };
    // Only who works takes requests: before, callers find nobody and go elsewhere.
    let listener = bind(config.appservice.listen, "appservice.listen").await?;
    let api = match &config.api.token_file {
        Some(path) => {
            Some((bind(config.api.listen, "api.listen").await?, files::token("api.token_file", path)?))
        }
        None => None,
    };
    let (settler, settling) = Settler::start(Arc::clone(&store));
    let (wanted, asked) = tokio::sync::mpsc::channel(profiles::MOST_WANTED);
    let encryption = open_device(&config, &store).await?;
    let app = Arc::new(make_app(config, Arc::clone(&store), settler, encryption, wanted)?);
    load_link(&app).await?;
    let chosen = store.setting(RECEIVE_SETTING).await?;
    app.receiving.choose(chosen.and_then(|chosen| Receive::parse(chosen.expose())));

    let stop_doors = CancellationToken::new();
    let stop_work = CancellationToken::new();
    let lanes = Lanes::new(Arc::clone(&app), stop_work.clone());
    let ask_readback = Arc::new(Notify::new());
    let feed = store.take_feed().ok_or_else(|| anyhow::anyhow!("the store's feed is taken"))?;
    lanes.recover(store.pending_lanes().await?.into_iter().collect());

    front.serve(Arc::clone(&app));
    let bounds = Bounds {
        connections: app.config.http.max_connections as usize,
        header_timeout: app.config.http.header_timeout.get(),
    };
    let doors = tokio::spawn(serve(listener, router(Arc::clone(&app)), bounds, stop_doors.clone()));
    let api = api.map(|(listener, token)| {
        let routes = api::router(Arc::clone(&app), Arc::clone(&lanes), token);
        let bounds = Bounds { connections: API_CONNECTIONS, ..bounds };
        tokio::spawn(serve(listener, routes, bounds, stop_doors.clone()))
    });
    let streaming = tokio::spawn(stream::run(Arc::clone(&app), stop_doors.clone()));
    let work = tokio::spawn(Arc::clone(&lanes).run(feed));
    let watching = tokio::spawn(away::run(Arc::clone(&app), Arc::clone(&lanes), stop_work.clone()));
    let background = [
        tokio::spawn(sweep::heartbeat(Arc::clone(&app), stop_work.clone())),
        tokio::spawn(sweep::homeserver(Arc::clone(&app), Arc::clone(&ask_readback), stop_work.clone())),
        tokio::spawn(sweep::dingtalk(Arc::clone(&app), stop_work.clone())),
        tokio::spawn(profiles::run(Arc::clone(&app), asked, stop_work.clone())),
        tokio::spawn(sweep::purge(Arc::clone(&app), stop_work.clone())),
        tokio::spawn(reseal::run(Arc::clone(&app), stop_work.clone())),
        tokio::spawn(encryption::upkeep::run(Arc::clone(&app), stop_work.clone())),
        tokio::spawn(away::failed::run(Arc::clone(&app), stop_work.clone())),
        tokio::spawn(readback::run(Arc::clone(&app), Arc::clone(&lanes), ask_readback, stop_work.clone())),
    ];
    tracing::info!(
        workspace = app.config.workspace.id.as_str(),
        listen = %app.config.appservice.listen,
        health = %app.config.health.listen,
        "the bridge runs"
    );

    tokio::select! {
        () = signals.end() => {}
        () = store.taken_over() => {
            // Nothing of this process may reach anybody any more; its rows are the other's now.
            anyhow::bail!("another process has taken over the database: this one ends");
        }
    }
    tracing::info!("stopping: no new requests, what is under way is finished");
    let end = async {
        stop_doors.cancel();
        let doors = async {
            let _ = tokio::join!(doors, streaming);
            if let Some(api) = api {
                let _ = api.await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(3), doors).await;
        stop_work.cancel();
        let work = async { tokio::join!(work, watching) };
        let _ = tokio::time::timeout(Duration::from_secs(4), work).await;
        for task in background {
            task.abort();
            let _ = task.await;
        }
        stop_probes.cancel();
        let _ = probes.await;
        app.settler.flush().await;
        store.close().await
    };
    match tokio::time::timeout(END, end).await {
        Ok(Ok(())) => tracing::info!("stopped"),
        Ok(Err(error)) => tracing::error!(code = error.code(), "the database was not closed: {error}"),
        Err(_) => tracing::warn!("stopped before everything was finished; it goes on at the next start"),
    }
    settling.abort();
    Ok(())
}

async fn bind(address: std::net::SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| anyhow::anyhow!("{key}: cannot listen on {address}: {error}"))
}

/// What asks the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(WEBHOOK_PATH, get(webhook::look).post(webhook::push))
        .fallback(transactions::handle)
        .with_state(app)
}

fn make_app(
    config: Config,
    store: Arc<dyn Store>,
    settler: Settler,
    encryption: Option<Encryption>,
    wanted: tokio::sync::mpsc::Sender<PersonId>,
) -> anyhow::Result<App> {
    let registrations = Registrations::read(&config)?;
    let server: OwnedServerName = ServerName::parse(config.homeserver.server_name.as_str())?;
    let user = |localpart: &str| -> anyhow::Result<OwnedUserId> {
        Ok(UserId::parse(format!("@{localpart}:{server}"))?)
    };
    let own = OwnUsers {
        bot: user(config.bot.localpart.as_str())?,
        sender: user(config.appservice.sender_localpart.as_str())?,
        ghost_prefix: config.bot.ghost_prefix.as_str().to_owned(),
        server: server.clone(),
    };
    let ca =
        |key: &str, path: &Option<PathBuf>| path.as_ref().map(|path| files::content(key, path)).transpose();
    let status_token = config.health.status_token_file.as_deref();
    let status_token = status_token.map(|path| files::token("health.status_token_file", path)).transpose()?;
    let matrix = bridge_matrix::client::Client::new(bridge_matrix::client::ClientOptions {
        base: config.homeserver.url.as_str().parse()?,
        as_token: registrations.as_token.clone(),
        other_as_token: registrations.other_as_token.clone(),
        server_name: server,
        bot: own.bot.clone(),
        timeouts: bridge_matrix::client::Timeouts {
            total: config.homeserver.request_timeout.get(),
            ..bridge_matrix::client::Timeouts::default()
        },
        ca: ca("homeserver.ca_file", &config.homeserver.ca_file)?,
    })?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let defaults = bridge_dingtalk::client::ClientOptions::default();
    let dingtalk = bridge_dingtalk::client::Client::new(
        &bridge_dingtalk::client::ClientOptions {
            old_base: config.dingtalk.oapi_base.as_str().to_owned(),
            new_base: config.dingtalk.api_base.as_str().to_owned(),
            allowed_hosts: config
                .dingtalk
                .session_hosts
                .iter()
                .map(|host| host.as_str().to_owned())
                .collect(),
            file_hosts: config.media.hosts.iter().map(|host| host.as_str().to_owned()).collect(),
            total_timeout: config.dingtalk.request_timeout.get(),
            ca: ca("dingtalk.ca_file", &config.dingtalk.ca_file)?,
            ..defaults
        },
        Arc::clone(&clock),
    )?;
    let (current, old) = database::sealing_keys(&config)?;
    let sealing_keys = std::iter::once(&current).chain(&old).map(|key| digest(key)).collect();
    let links = Links::new(
        std::iter::once(current).chain(old),
        config.workspace.id.as_str(),
        config.appservice.webhook_url.as_ref().map(ToString::to_string),
        config.media.link_lifetime.get(),
    );
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    Ok(App::new(Parts {
        config,
        own,
        registrations,
        sealing_keys,
        links,
        status_token,
        store,
        matrix,
        dingtalk,
        clock,
        entropy,
        settler,
        encryption,
        wanted,
    }))
}

/// The bot's device for encrypted rooms, where the configuration wants one. A chat that is bridged to an encrypted room
/// would fall silent without it, or be spoken to in the clear: while there is one, encryption is not switched off.
async fn open_device(config: &Config, store: &Arc<dyn Store>) -> anyhow::Result<Option<Encryption>> {
    let kept = if config.encryption.enabled { 0 } else { store.chat_figures().await?.encrypted };
    if !config.encryption.enabled && kept == 0 {
        return Ok(None);
    }
    if kept > 0 {
        tracing::warn!(
            chats = kept,
            "encryption.enabled is false, but chats are bridged to encrypted rooms: encryption stays on until a start \
             after they are unbridged"
        );
    }
    let bot = UserId::parse(config.bot_user_id())?;
    let new_id = || {
        let mut bytes = [0; 5];
        SystemEntropy.fill(&mut bytes);
        ruma::OwnedDeviceId::from(format!("DINGTALK{}", hex(&bytes).to_uppercase()))
    };
    let machine =
        bridge_crypto::Machine::open(Arc::clone(store), Arc::new(SystemClock), &bot, new_id).await?;
    Ok(Some(Encryption::new(machine, kept > 0)))
}

/// The link and the webhook's keys: from files where the configuration names them, else from the database.
async fn load_link(app: &Arc<App>) -> anyhow::Result<()> {
    let keys = webhook_keys::load(app).await?;
    app.set_webhook_keys(keys);
    let stored = app.store.link().await?;
    let Some(given) = &app.config.dingtalk.credentials else {
        app.set_link(stored.filter(|link| link.source == LinkSource::Command));
        return Ok(());
    };
    let app_key =
        files::given("dingtalk.credentials.app_key", given.app_key(), |text| RobotCode::parse(text))?;
    let agent_id = files::given("dingtalk.credentials.agent_id", given.agent_id(), AgentId::parse)?;
    let known = stored.filter(|link| link.app_key == app_key);
    let configured = app.config.dingtalk.corp_id.as_ref().and_then(|corp| CorpId::parse(corp.as_str()).ok());
    let link = Link {
        app_secret: files::secret("dingtalk.credentials.app_secret_file", &given.app_secret_file)?,
        agent_id: agent_id.as_str().parse()?,
        corp: configured.or_else(|| known.as_ref().and_then(|link| link.corp.clone())),
        linked_at: known.as_ref().map_or_else(|| app.now(), |link| link.linked_at),
        organisation: known.map_or_else(|| app_key.to_string(), |link| link.organisation),
        app_key,
        linked_by: app.own.bot.clone(),
        room: None,
        source: LinkSource::File,
    };
    app.set_link(Some(link.clone()));
    app.store.commit(Commit { link: Some(Some(link.clone())), ..Commit::default() }).await?;
    tokio::spawn(learn_organisation(Arc::clone(app), link));
    Ok(())
}

/// Asks DingTalk for the organisation's name of credentials that came from files, until it answers.
async fn learn_organisation(app: Arc<App>, link: Link) {
    let credentials = bridge_dingtalk::client::Credentials {
        app_key: link.app_key.to_string(),
        app_secret: link.app_secret.clone(),
    };
    let mut pause = Duration::from_secs(1);
    loop {
        match app.dingtalk.check_login(&credentials, link.agent_id).await {
            Ok(info) => {
                let link = Link { organisation: info.organisation, ..link };
                app.set_link(Some(link.clone()));
                if let Err(error) =
                    app.store.commit(Commit { link: Some(Some(link)), ..Commit::default() }).await
                {
                    tracing::warn!(code = error.code(), "the organisation's name could not be written");
                }
                return;
            }
            Err(error) => {
                tracing::warn!("the DingTalk credentials of the configuration do not work: {error}");
                app.health.set_dingtalk(Some(error.to_string()));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_mins(1));
    }
}
