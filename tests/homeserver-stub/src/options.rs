//! How a stub is set up.

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which homeserver is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Mode {
    /// Delivers in order, one transaction in flight, again until it is answered 2xx with JSON.
    #[default]
    Synapse,
    /// Delivers each event alone, and forgets what was answered with anything but 200.
    Palpo,
}

/// One of Synapse's `experimental_features`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Feature {
    /// Transactions have messages to devices, where the registration asks for what is ephemeral.
    #[value(name = "msc2409_to_device_messages_enabled")]
    ToDeviceMessages,
    /// Transactions tell changes of devices and counts of keys, where the registration asks for it.
    #[value(name = "msc3202_transaction_extensions")]
    TransactionExtensions,
}

/// The bridge's registration, with the names of the registration file.
#[derive(Clone, Debug, Deserialize)]
pub struct Registration {
    /// Unique id of the application service.
    pub id: String,
    /// Where transactions go; none = no pushes.
    pub url: Option<String>,
    /// Token the bridge presents.
    pub as_token: String,
    /// Token the stub presents.
    pub hs_token: String,
    /// Localpart of the user that acts when no `user_id` is given.
    pub sender_localpart: String,
    /// Users and aliases that belong to the bridge.
    #[serde(default)]
    pub namespaces: Namespaces,
    /// Whether typing and receipts are pushed.
    #[serde(default, alias = "de.sorunome.msc2409.push_ephemeral")]
    pub receive_ephemeral: bool,
    /// Whether changes of devices and counts of keys are told.
    #[serde(default, rename = "org.matrix.msc3202")]
    pub transaction_extensions: bool,
}

/// The namespaces of a registration.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Namespaces {
    /// User ids.
    #[serde(default)]
    pub users: Vec<Namespace>,
    /// Room aliases.
    #[serde(default)]
    pub aliases: Vec<Namespace>,
}

/// One namespace.
#[derive(Clone, Debug, Deserialize)]
pub struct Namespace {
    /// Whether nobody else may use it.
    #[serde(default)]
    pub exclusive: bool,
    /// Matched from the start of the whole id.
    pub regex: String,
}

impl Registration {
    /// A registration whose users and aliases are those with a localpart that starts with `prefix`.
    pub fn for_prefix(prefix: &str, server_name: &str, url: Option<&str>) -> Self {
        let server = regex::escape(server_name);
        let namespace = |sigil: char| Namespace {
            exclusive: true,
            regex: format!("{sigil}{}.*:{server}$", regex::escape(prefix)),
        };
        Self {
            id: "bridge".to_owned(),
            url: url.map(str::to_owned),
            as_token: "as-token".to_owned(),
            hs_token: "hs-token".to_owned(),
            sender_localpart: format!("{prefix}-sender"),
            namespaces: Namespaces { users: vec![namespace('@')], aliases: vec![namespace('#')] },
            receive_ephemeral: false,
            transaction_extensions: false,
        }
    }

    /// Reads a registration file.
    pub fn from_yaml(text: &str) -> anyhow::Result<Self> {
        Ok(serde_saphyr::from_str(text)?)
    }
}

/// All settings of a stub.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The part after the colon of user ids.
    pub server_name: String,
    /// Which homeserver is imitated.
    pub mode: Mode,
    /// The bridge.
    pub registration: Registration,
    /// Journal from which a restarted stub takes its rooms, users and events.
    pub state: Option<PathBuf>,
    /// Number transactions from 1 after a restart, as Synapse on SQLite does.
    pub reset_transaction_ids: bool,
    /// Whether events sent by the bridge's users come back to it.
    pub echo: bool,
    /// Factor on every retry delay (2, 4, 8 … s in Synapse, 30 s × tries² in Palpo).
    pub retry_scale: f64,
    /// Largest upload in bytes.
    pub max_upload: u64,
    /// Version of new rooms; default 12 for Synapse, 11 for Palpo.
    pub room_version: Option<String>,
    /// Longest wait for the answer to a transaction.
    pub push_timeout: Duration,
    /// What Synapse has off unless its configuration says otherwise.
    pub features: Vec<Feature>,
}

impl Options {
    /// Defaults: loopback, a free port, Synapse, echo, real delays, 50 MiB uploads.
    pub fn new(server_name: &str, registration: Registration) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            server_name: server_name.to_owned(),
            mode: Mode::Synapse,
            registration,
            state: None,
            reset_transaction_ids: false,
            echo: true,
            retry_scale: 1.0,
            max_upload: 50 * 1024 * 1024,
            room_version: None,
            push_timeout: Duration::from_mins(1),
            features: Vec::new(),
        }
    }
}
