//! The DingTalk sandbox as a process of its own, and its control API.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use test_support::{Process, Spawn, wait_until};
use tokio::sync::Mutex;

use crate::place::Place;

/// How long it may take to start and to end.
const LIMIT: Duration = Duration::from_secs(30);

/// DingTalk, as the bridge and its people see it.
#[derive(Debug)]
pub struct Sandbox {
    /// None when it is not a process of this machine.
    spawn: Option<Spawn>,
    log: PathBuf,
    process: Mutex<Option<Process>>,
    url: String,
    client: reqwest::Client,
}

/// Something a bridge sent.
#[derive(Clone, Debug, Deserialize)]
pub struct Sent {
    /// Its place in the list.
    pub index: usize,
    /// When, in milliseconds since 1970.
    pub time: i64,
    /// `group`, `oto` or `session`.
    pub channel: String,
    /// The chat.
    pub chat_id: String,
    /// Kind: `msgKey`, or `msgtype` of webhooks.
    pub msg_key: String,
    /// What was sent, as it came.
    pub body: Value,
    /// Id under which people quote it.
    pub msg_id: String,
    /// Ids of the people really mentioned.
    pub mentions: Vec<String>,
    /// Taken back.
    pub recalled: bool,
}

impl Sent {
    /// Whether a text occurs in it.
    pub fn says(&self, text: &str) -> bool {
        fn within(value: &Value, text: &str) -> bool {
            match value {
                Value::String(string) => {
                    string.contains(text)
                        // A message's parameters are JSON inside a string.
                        || serde_json::from_str::<Value>(string).is_ok_and(|inner| !inner.is_string() && within(&inner, text))
                }
                Value::Array(items) => items.iter().any(|item| within(item, text)),
                Value::Object(entries) => entries.values().any(|item| within(item, text)),
                Value::Null | Value::Bool(_) | Value::Number(_) => false,
            }
        }
        within(&self.body, text)
    }

    /// What people read, as far as it is text.
    pub fn text(&self) -> String {
        fn find(value: &Value) -> Option<String> {
            match value {
                Value::String(string) => {
                    let inner = serde_json::from_str::<Value>(string).ok().filter(Value::is_object)?;
                    find(&inner)
                }
                Value::Object(entries) => {
                    let direct = ["text", "content"].iter().find_map(|key| entries.get(*key)?.as_str());
                    direct.map(str::to_owned).or_else(|| entries.values().find_map(find))
                }
                _ => None,
            }
        }
        find(&self.body).unwrap_or_else(|| self.body.to_string())
    }
}

impl Sandbox {
    /// Starts the program on an address that stays the same over restarts.
    pub(crate) async fn start(
        program: Spawn,
        place: Place<'_>,
        time_scale: f64,
        more: &[String],
    ) -> anyhow::Result<Self> {
        let log = place.dir.join("sandbox.log");
        let spawn = program
            .args(["--listen", &place.listen.to_string(), "--time-scale", &time_scale.to_string(), "--state"])
            .arg(place.dir.join("sandbox.jsonl"))
            .args(more)
            .log(&log);
        let url = place.url;
        let sandbox =
            Self { spawn: Some(spawn), log, process: Mutex::default(), url, client: crate::http_client()? };
        sandbox.resume().await?;
        Ok(sandbox)
    }

    /// One that runs elsewhere; the log is a sentence that says where.
    pub(crate) fn elsewhere(url: String, log: String) -> anyhow::Result<Self> {
        Ok(Self {
            spawn: None,
            log: log.into(),
            process: Mutex::default(),
            url,
            client: crate::http_client()?,
        })
    }

    /// Starts it again after [`Sandbox::stop`] or [`Sandbox::kill`], with all it knew.
    pub async fn resume(&self) -> anyhow::Result<()> {
        let process =
            self.spawn.as_ref().context("the sandbox is no process of this machine")?.start().await?;
        let answer = async || self.get::<Value>("stats").await.ok();
        let ready = process.wait_ready(LIMIT, "the sandbox's first answer", answer).await;
        ready.context("starting the DingTalk sandbox")?;
        *self.process.lock().await = Some(process);
        Ok(())
    }

    /// Ends it with SIGTERM.
    pub async fn stop(&self) -> anyhow::Result<()> {
        match self.process.lock().await.take() {
            Some(process) => process.terminate(LIMIT).await.map(drop),
            None => Ok(()),
        }
    }

    /// `kill -9`.
    pub async fn kill(&self) -> anyhow::Result<()> {
        match self.process.lock().await.take() {
            Some(process) => process.kill().await.map(drop),
            None => Ok(()),
        }
    }

    /// Its address: page, API and, below `/_sandbox/`, control.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Who and what is there.
    pub async fn world(&self) -> anyhow::Result<dingtalk_sandbox::WorldInfo> {
        self.get("world").await
    }

    /// Asks the control API, e.g. for `deliveries?since=3`.
    pub async fn get<T: DeserializeOwned>(&self, call: &str) -> anyhow::Result<T> {
        let request = self.client.get(format!("{}/_sandbox/{call}", self.url));
        self.answer(call, request).await
    }

    /// Tells the control API something, e.g. `faults`.
    pub async fn post<T: DeserializeOwned>(&self, call: &str, body: &Value) -> anyhow::Result<T> {
        let request = self.client.post(format!("{}/_sandbox/{call}", self.url)).json(body);
        self.answer(call, request).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        call: &str,
        request: reqwest::RequestBuilder,
    ) -> anyhow::Result<T> {
        let what = || format!("asking the sandbox for {call}");
        let answer = request.send().await.with_context(what)?;
        let status = answer.status();
        let text = answer.text().await.with_context(what)?;
        anyhow::ensure!(status.is_success(), "the sandbox answers {call} with {status}: {text}");
        serde_json::from_str(&text).with_context(what)
    }

    /// A person writes, and mentions the bot so that it hears of it. Answers with the message's id.
    pub async fn write(&self, chat_id: &str, staff_id: &str, text: &str) -> anyhow::Result<String> {
        let message = json!({"chat_id": chat_id, "staff_id": staff_id, "text": text, "mention_bot": true});
        let posted: Value = self.post("messages", &message).await?;
        posted["msg_id"].as_str().map(str::to_owned).context("the sandbox gave the message no id")
    }

    /// What bridges sent, from an index on.
    pub async fn sent(&self, since: usize) -> anyhow::Result<Vec<Sent>> {
        self.get(&format!("sent?since={since}")).await
    }

    /// How the delivery of a person's message goes.
    pub async fn delivery(&self, msg_id: &str) -> anyhow::Result<Value> {
        // Ids are Base64; a plus in an address means a space.
        let call = format!("deliveries?msg_id={}", msg_id.replace('+', "%2B"));
        let mut all: Vec<Value> = self.get(&call).await?;
        all.pop().context("the sandbox knows no delivery of the message")
    }

    /// What a bridge uploaded under a media id.
    pub async fn media(&self, media_id: &str) -> anyhow::Result<Vec<u8>> {
        let mut url = reqwest::Url::parse(&self.url).context("the sandbox's address")?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(["_sandbox", "media", media_id]);
        }
        let answer = self.client.get(url).send().await?.error_for_status().context("asking for a file")?;
        Ok(answer.bytes().await.context("reading a file")?.to_vec())
    }

    /// Waits until a bridge has sent something to a chat that fits; looks at everything sent from an index on.
    pub async fn wait_sent(
        &self,
        what: &str,
        since: usize,
        limit: Duration,
        fits: impl Fn(&Sent) -> bool,
    ) -> anyhow::Result<Sent> {
        wait_until(limit, &format!("{what} in DingTalk"), async || {
            let sent = self.sent(since).await.ok()?;
            sent.into_iter().find(|sent| fits(sent))
        })
        .await
    }

    /// Open Stream connections.
    pub async fn streams(&self) -> anyhow::Result<Vec<dingtalk_sandbox::StreamInfo>> {
        self.get("stream").await
    }

    /// Chooses in the console by which way an app receives: `http` or `stream`.
    pub async fn receive_by(&self, app_key: &str, way: &str) -> anyhow::Result<()> {
        self.post::<Value>(&format!("apps/{app_key}/settings"), &json!({"receiving": way})).await.map(drop)
    }

    /// Chooses Stream mode in the console and waits until the bridge has a connection.
    pub(crate) async fn choose_stream(&self, app_key: &str) -> anyhow::Result<()> {
        self.receive_by(app_key, "stream").await?;
        wait_until(LIMIT, "a Stream connection of the bridge", async || {
            let open = self.streams().await.ok()?;
            open.iter().any(|stream| stream.app_key == app_key).then_some(())
        })
        .await
    }

    /// Types the webhook's address into the console, which checks it.
    pub async fn save_webhook(
        &self,
        app_key: &str,
        url: &str,
        token: &str,
        aes_key: &str,
    ) -> anyhow::Result<()> {
        let form = json!({"url": url, "token": token, "aes_key": aes_key});
        let check: dingtalk_sandbox::ConsoleCheck =
            self.post(&format!("apps/{app_key}/webhook"), &form).await?;
        anyhow::ensure!(
            check.ok,
            "DingTalk's console refuses the webhook address: {} ({})",
            check.reason.unwrap_or_default(),
            check.detail.unwrap_or_default()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: Value) -> Sent {
        let text = |text: &str| text.to_owned();
        Sent {
            index: 0,
            time: 0,
            channel: text("group"),
            chat_id: text("cid"),
            msg_key: text("sampleText"),
            body,
            msg_id: text("msg"),
            mentions: Vec::new(),
            recalled: false,
        }
    }

    #[test]
    fn a_text_is_found_also_in_json_within_a_string() {
        let group = sent(
            json!({"msgKey": "sampleMarkdown", "msgParam": "{\"title\":\"t\",\"text\":\"# 你好 \\\"x\\\"\"}"}),
        );
        assert!(group.says("你好 \"x\""));
        assert_eq!(group.text(), "# 你好 \"x\"");
        let session = sent(json!({"msgtype": "text", "text": {"content": "hello"}}));
        assert!(session.says("hello") && !session.says("hallo"));
        assert_eq!(session.text(), "hello");
    }
}
