//! HTTP without surprises: one TLS provider, no proxy from the environment, ports nobody else was given.

use anyhow::Context;
use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, Once, PoisonError};

/// Makes *ring* the TLS provider of this process; harmless to repeat. Every constructor here calls it.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    // An error means that somebody installed one before, which is as good.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// An HTTP client that ignores proxy settings.
pub fn http_client() -> anyhow::Result<reqwest::Client> {
    install_crypto();
    reqwest::Client::builder().no_proxy().build().context("HTTP client")
}

/// A TCP port of 127.0.0.1 that is free now and that this process has not given out before.
pub fn free_port() -> anyhow::Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    for _ in 0..100 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        if given.insert(port) {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port found in 100 tries")
}
