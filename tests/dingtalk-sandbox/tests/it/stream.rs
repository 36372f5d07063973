//! Stream mode as a client meets it.

use dingtalk_sandbox::{
    AppSettings, NewEvent, NewMessage, Options, Receiving, Sandbox, StreamAct, StreamOrder, start,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::client::{LIMIT, answer, http, quick};

type Socket = WebSocketStream<TcpStream>;

async fn sandbox(options: Options) -> Sandbox {
    let sandbox = start(options).await.unwrap();
    let settings = AppSettings { receiving: Some(Receiving::Stream), ..AppSettings::default() };
    sandbox.set_app(&sandbox.world().app_key, &settings).unwrap();
    sandbox
}

fn request(sandbox: &Sandbox) -> Value {
    let world = sandbox.world();
    json!({
        "clientId": world.app_key,
        "clientSecret": world.app_secret,
        "subscriptions": [
            {"type": "EVENT", "topic": "*"},
            {"type": "CALLBACK", "topic": "/v1.0/im/bot/messages/get"},
        ],
    })
}

async fn open(sandbox: &Sandbox, body: &Value) -> (u16, Value) {
    let url = format!("{}/v1.0/gateway/connections/open", sandbox.base_url());
    answer(http().post(url).header("accept", "application/json").json(body)).await
}

async fn dial(sandbox: &Sandbox, opened: &Value) -> Result<Socket, u16> {
    let ticket = opened["ticket"].as_str().unwrap();
    let mut address = url::Url::parse(opened["endpoint"].as_str().unwrap()).unwrap();
    address.query_pairs_mut().append_pair("ticket", ticket);
    let stream = TcpStream::connect(sandbox.address()).await.unwrap();
    match tokio_tungstenite::client_async(address.as_str(), stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(refused)) => Err(refused.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn connect(sandbox: &Sandbox) -> Socket {
    let (status, opened) = open(sandbox, &request(sandbox)).await;
    assert_eq!(status, 200, "{opened}");
    dial(sandbox, &opened).await.unwrap()
}

/// The next frame that is not a ping; pings are answered.
async fn next(socket: &mut Socket) -> Option<Value> {
    let frame = async {
        loop {
            let Message::Text(text) = socket.next().await?.ok()? else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["headers"]["topic"] != "ping" {
                return Some(frame);
            }
            ack(socket, &frame, 200, frame["data"].as_str().unwrap()).await;
        }
    };
    tokio::time::timeout(LIMIT, frame).await.expect("a frame in time")
}

async fn ack(socket: &mut Socket, frame: &Value, code: u16, data: &str) {
    let headers = json!({"contentType": "application/json", "messageId": frame["headers"]["messageId"]});
    let answer = json!({"code": code, "headers": headers, "message": "", "data": data});
    socket.send(Message::text(answer.to_string())).await.unwrap();
}

fn write(sandbox: &Sandbox, text: &str) -> String {
    let world = sandbox.world();
    let message = NewMessage::text(&world.chats[0].chat_id, &world.people[0].staff_id, text);
    sandbox.post_message(&message).unwrap().msg_id
}

#[tokio::test]
async fn a_ticket_opens_one_connection_for_a_while() {
    let sandbox = sandbox(Options { time_scale: 1.0, ..Options::default() }).await;
    let (_, opened) = open(&sandbox, &request(&sandbox)).await;
    let _socket = dial(&sandbox, &opened).await.unwrap();
    assert_eq!(dial(&sandbox, &opened).await.unwrap_err(), 401);
    let (_, opened) = open(&sandbox, &request(&sandbox)).await;
    let url = format!("{}/_sandbox/stream", sandbox.base_url());
    let order = StreamOrder { act: StreamAct::ExpireTickets, id: None };
    assert_eq!(answer(http().post(url).json(&order)).await.1, json!({"met": 1}));
    assert_eq!(dial(&sandbox, &opened).await.unwrap_err(), 401);
    assert_eq!(sandbox.streams().len(), 1);
}

#[tokio::test]
async fn opening_is_refused_as_dingtalk_refuses_it() {
    let sandbox = sandbox(quick()).await;
    let mut wrong = request(&sandbox);
    wrong["clientSecret"] = json!("wrong");
    let (status, body) = open(&sandbox, &wrong).await;
    assert_eq!((status, body["code"].as_str()), (401, Some("authFailed")));
    for subscriptions in [json!([]), json!([{"type": "OTHER", "topic": "*"}]), json!("x"), Value::Null] {
        let mut wrong = request(&sandbox);
        wrong["subscriptions"] = subscriptions;
        assert_eq!(open(&sandbox, &wrong).await.0, 400);
    }
    // Without Accept the answer is not JSON.
    let url = format!("{}/v1.0/gateway/connections/open", sandbox.base_url());
    let response = http().post(url).json(&request(&sandbox)).send().await.unwrap();
    assert!(response.text().await.unwrap().starts_with('<'));
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again() {
    let sandbox = sandbox(quick()).await;
    let mut socket = connect(&sandbox).await;
    let msg_id = write(&sandbox, "first");
    for code in [404, 500, 200] {
        let frame = next(&mut socket).await.unwrap();
        assert_eq!(frame["type"], "CALLBACK");
        let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
        assert_eq!(data["msgId"], msg_id.as_str());
        ack(&mut socket, &frame, code, "{\"response\":null}").await;
    }
    sandbox.wait_answered(&msg_id, LIMIT).await.unwrap();

    let id =
        sandbox.happen(&NewEvent { event_type: "org_change".to_owned(), ..NewEvent::default() }).unwrap();
    for status in ["LATER", "SUCCESS"] {
        let frame = next(&mut socket).await.unwrap();
        assert_eq!(
            (frame["type"].as_str(), frame["headers"]["eventId"].as_str()),
            (Some("EVENT"), Some(&*id))
        );
        ack(&mut socket, &frame, 200, &json!({"status": status}).to_string()).await;
    }
    let answered = |own: &Sandbox| own.event(&id).filter(|event| event.progress.answered);
    let event = sandbox.wait_for("the event", LIMIT, answered).await.unwrap();
    assert!(!event.failed && event.progress.attempts == 2, "{event:?}");
}

#[tokio::test]
async fn a_connection_that_leaves_gets_nothing_more_and_is_closed() {
    let sandbox = sandbox(quick()).await;
    let (mut old, mut new) = (connect(&sandbox).await, connect(&sandbox).await);
    let id = sandbox.streams()[0].id;
    sandbox.order_stream(&StreamOrder { act: StreamAct::Disconnect, id: Some(id) });
    assert_eq!(next(&mut old).await.unwrap()["headers"]["topic"], "disconnect");
    for _ in 0..8 {
        let msg_id = write(&sandbox, "to the other one");
        let frame = next(&mut new).await.unwrap();
        ack(&mut new, &frame, 200, "{}").await;
        sandbox.wait_answered(&msg_id, LIMIT).await.unwrap();
    }
    assert_eq!(next(&mut old).await, None);
    let gone = |own: &Sandbox| own.streams().iter().all(|stream| stream.id != id).then_some(());
    sandbox.wait_for("the end", LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn one_way_at_a_time() {
    let sandbox = sandbox(Options { stream_loses: true, ..quick() }).await;
    let lost = write(&sandbox, "nobody is there");
    let tried = |own: &Sandbox| own.progress(&lost).filter(|progress| progress.attempts == 1);
    let progress = sandbox.wait_for("the attempt", LIMIT, tried).await.unwrap();
    assert!(!progress.answered, "{progress:?}");
    let mut socket = connect(&sandbox).await;
    let settings = AppSettings { receiving: Some(Receiving::Http), ..AppSettings::default() };
    sandbox.set_app(&sandbox.world().app_key, &settings).unwrap();
    let other = write(&sandbox, "by HTTP, which has no address");
    let refused = |own: &Sandbox| own.progress(&other).filter(|progress| progress.error.is_some());
    sandbox.wait_for("the refusal", LIMIT, refused).await.unwrap();
    assert_eq!(sandbox.streams()[0].delivered, 0);
    socket.close(None).await.unwrap();
}
