//! stub
use tokio_util::sync::CancellationToken;
/// stub
#[derive(Clone, Debug)]
pub struct Recorder;
/// stub
#[derive(Clone, Debug)]
pub struct Reference {
    /// a
    pub api_version: String,
    /// a
    pub kind: String,
    /// a
    pub namespace: String,
    /// a
    pub name: String,
    /// a
    pub uid: String,
}
/// stub
#[derive(Clone, Debug)]
pub struct Note {
    /// a
    pub regarding: Reference,
    /// a
    pub warning: bool,
    /// a
    pub reason: String,
    /// a
    pub action: String,
    /// a
    pub note: String,
}
impl Recorder {
    /// a
    pub fn spawn(_: kube::Client, _: &str, _: &str, _: CancellationToken) -> Self { Self }
    /// a
    pub fn publish(&self, note: Note) { tracing::info!(?note, "event"); }
}
