//! What goes wrong all the time between the kills: slow, refused, repeated and lost answers on every way.

use serde_json::{Value, json};
use world::World;

use super::chance::Chance;
use crate::gate::{Fate, Moment};

/// What goes wrong between homeserver and bridge.
pub(crate) fn fates(mut chance: Chance) -> impl FnMut(Moment) -> Fate + Send + 'static {
    move |moment| match (moment, chance.below(100)) {
        (Moment::Arrived, 0) | (Moment::Unanswered, 0..50) => Fate::Refuse,
        (Moment::Arrived, 1) => Fate::LoseAnswer,
        (Moment::Arrived, 2) => Fate::Cut,
        _ => Fate::Pass,
    }
}

/// Makes both servers slow, so that kills meet calls that are under way, and unreliable. One that was started again
/// has forgotten it. A real homeserver is left as it is.
pub(crate) async fn begin(world: &World, chance: &mut Chance) -> anyhow::Result<()> {
    for mut fault in [
        json!({"target": "/v1.0/robot", "kind": "lose_answer", "probability": 0.01}),
        json!({"target": "/v1.0/robot", "kind": "throttle", "form": "qps", "probability": 0.01}),
        json!({"target": "/v1.0/robot", "kind": "delay_ms", "value": 60, "probability": 0.3}),
        json!({"target": "webhook", "kind": "lose_answer", "probability": 0.03}),
        json!({"target": "webhook", "kind": "invalid_json", "probability": 0.01}),
        json!({"target": "webhook", "kind": "wrong_sign", "probability": 0.01}),
        json!({"target": "webhook", "kind": "stale_timestamp", "probability": 0.01}),
        json!({"target": "stream", "kind": "lose_answer", "probability": 0.03}),
        json!({"target": "stream", "kind": "invalid_json", "probability": 0.01}),
        json!({"target": "stream", "kind": "cut", "probability": 0.01}),
    ] {
        fault["seed"] = json!(chance.next());
        let _: Value = world.sandbox().post("faults", &fault).await?;
    }
    let Some(control) = world.homeserver().control() else { return Ok(()) };
    let (client, url) = (reqwest::Client::new(), format!("{control}/faults"));
    for fault in [
        json!({"path_contains": "/send/", "kind": "lose_answer", "probability": 0.02}),
        json!({"path_contains": "/send/", "kind": "status", "value": 502, "probability": 0.01}),
        json!({"path_contains": "/send/", "kind": "limit", "value": 50, "probability": 0.01}),
        json!({"path_contains": "/send/", "kind": "delay_ms", "value": 60, "probability": 0.3}),
    ] {
        client.post(&url).json(&fault).send().await?.error_for_status()?;
    }
    Ok(())
}

/// Ends it.
pub(crate) async fn end(world: &World) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let of_homeserver = world.homeserver().control().map(|control| format!("{control}/faults"));
    for url in [format!("{}/_sandbox/faults", world.sandbox().url())].into_iter().chain(of_homeserver) {
        client.delete(url).send().await?.error_for_status()?;
    }
    Ok(())
}
