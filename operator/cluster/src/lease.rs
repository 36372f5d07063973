//! stub
use crate::Fence;
use tokio_util::sync::CancellationToken;
/// a
#[derive(Clone, Debug)]
pub enum Leadership {
    /// a
    Standby {
        /// a
        holder: Option<String>,
    },
    /// a
    Leading {
        /// a
        transitions: u32,
    },
}
/// a
#[derive(Debug)]
pub struct LeaseSpec {
    /// a
    pub identity: String,
}
impl LeaseSpec {
    /// a
    pub fn new(_: kube::Client, _: impl Into<String>, _: impl Into<String>) -> Self { Self { identity: String::new() } }
    /// a
    pub fn identity(pod: &str) -> String { pod.to_owned() }
}
/// a
#[derive(Debug)]
pub struct Elector { r: tokio::sync::watch::Receiver<Leadership>, _s: tokio::sync::watch::Sender<Leadership> }
/// a
pub fn spawn(_: LeaseSpec, fence: Fence, _: CancellationToken) -> Elector {
    fence.open_until(tokio::time::Instant::now() + std::time::Duration::from_hours(24));
    let (s, r) = tokio::sync::watch::channel(Leadership::Leading { transitions: 1 });
    Elector { r, _s: s }
}
impl Elector {
    /// a
    pub fn leadership(&self) -> tokio::sync::watch::Receiver<Leadership> { self.r.clone() }
    /// a
    pub async fn stopped(self) {}
}
