//! One connection: carries frames, asks whether the other side lives, reads acknowledgements.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Ack, Order, Subscription};
use crate::world::World;

/// Serves a connection until it ends.
pub(crate) async fn serve(
    world: Arc<World>,
    mut socket: WebSocket,
    app_key: String,
    subscriptions: Vec<Subscription>,
) {
    let (id, mut orders) = world.stream.open(app_key, subscriptions);
    world.announce(|| json!({"event": "stream", "id": id, "open": true}));
    talk(&world, &mut socket, id, &mut orders).await;
    world.stream.close(id);
    world.announce(|| json!({"event": "stream", "id": id, "open": false}));
}

async fn talk(world: &World, socket: &mut WebSocket, id: u64, orders: &mut mpsc::UnboundedReceiver<Order>) {
    let (mut stop, mut stop_frozen) = (world.stop.subscribe(), world.stop.subscribe());
    let period = world.ping_period();
    let mut ping_at = Instant::now() + period;
    let mut asked: Option<(String, String)> = None;
    let mut end: Option<Instant> = None;
    loop {
        let wake = end.map_or(ping_at, |end| end.min(ping_at));
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            order = orders.recv() => match order {
                None | Some(Order::Cut) => return,
                Some(Order::Frame(frame)) => {
                    if socket.send(Message::text(frame)).await.is_err() {
                        return;
                    }
                }
                Some(Order::Leave) => {
                    let frame = system(world, "disconnect", &json!({"reason": "connection is expired"}));
                    if socket.send(Message::text(frame.1)).await.is_err() {
                        return;
                    }
                    end.get_or_insert_with(|| Instant::now() + world.grace());
                }
                Some(Order::Freeze) => {
                    // Held and not looked at, until it is cut or the sandbox ends.
                    tokio::select! {
                        () = stopped(&mut stop_frozen) => {}
                        () = cut(orders) => {}
                    }
                    return;
                }
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    if !answered(world, id, &text, &mut asked) {
                        return;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => return,
            },
            () = tokio::time::sleep_until(wake) => {
                if end.is_some_and(|end| end <= Instant::now()) || asked.is_some() {
                    return;
                }
                let opaque = world.state().ids.hex32();
                let (message_id, frame) = system(world, "ping", &json!({"opaque": opaque}));
                asked = Some((message_id, json!({"opaque": opaque}).to_string()));
                ping_at = Instant::now() + period;
                if socket.send(Message::text(frame)).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}

async fn cut(orders: &mut mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        if matches!(order, Order::Cut) {
            return;
        }
    }
}

/// A frame of the connection itself, with its id.
fn system(world: &World, topic: &str, data: &Value) -> (String, String) {
    let message_id = world.state().ids.hex32();
    let headers = json!({
        "contentType": "application/json",
        "messageId": message_id,
        "time": crate::now_ms().to_string(),
        "topic": topic,
    });
    let frame = json!({"specVersion": "1.0", "type": "SYSTEM", "headers": headers, "data": data.to_string()});
    (message_id, frame.to_string())
}

/// Reads an answer; false ends the connection: it is no answer, or the wrong one to a ping.
fn answered(world: &World, id: u64, text: &str, asked: &mut Option<(String, String)>) -> bool {
    let Ok(answer) = serde_json::from_str::<Value>(text) else { return false };
    let (Some(code), Some(message_id)) = (answer["code"].as_i64(), answer["headers"]["messageId"].as_str())
    else {
        return false;
    };
    // Data is JSON within a text, as in what is pushed.
    let Some(data) = answer["data"].as_str() else { return false };
    if let Some((_, said)) = asked.take_if(|(asked, _)| asked == message_id) {
        return code == 200 && data == said;
    }
    world.stream.acknowledge(id, message_id, Ack { code, data: data.to_owned() });
    true
}
