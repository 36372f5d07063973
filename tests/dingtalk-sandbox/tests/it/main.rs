//! The sandbox as a bridge meets it: over HTTP, with a small receiver in place of the bridge.

#[cfg(test)]
mod api;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod events;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod sending;
#[cfg(test)]
mod stream;

#[cfg(test)]
mod client {
    use std::time::Duration;

    use dingtalk_sandbox::{Options, Sandbox, WebhookForm, start};
    use serde_json::{Value, json};

    pub(crate) const TOKEN: &str = "brgTok7Q";
    pub(crate) const AES_KEY: &str = "k3Xv8QpZr1TmB7wLc9NfYh2JdUe5GsAo6RiCqWtVbz0";
    pub(crate) const LIMIT: Duration = Duration::from_secs(20);

    /// Waiting times 500 times shorter than DingTalk's; only an answer may take longer, on a busy machine.
    pub(crate) fn quick() -> Options {
        Options { time_scale: 500.0, answer_limit: LIMIT, ..Options::default() }
    }

    pub(crate) async fn sandbox() -> Sandbox {
        start(quick()).await.unwrap()
    }

    pub(crate) fn form(url: &str) -> WebhookForm {
        WebhookForm {
            url: url.into(),
            token: TOKEN.into(),
            aes_key: AES_KEY.into(),
            ..WebhookForm::default()
        }
    }

    pub(crate) fn http() -> reqwest::Client {
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    /// Status and JSON body.
    pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    pub(crate) async fn token(sandbox: &Sandbox) -> String {
        let world = sandbox.world();
        let url = format!("{}/v1.0/oauth2/accessToken", sandbox.base_url());
        let pair = json!({"appKey": world.app_key, "appSecret": world.app_secret});
        let (status, body) = answer(http().post(url).json(&pair)).await;
        assert_eq!(status, 200, "{body}");
        body["accessToken"].as_str().unwrap().to_owned()
    }

    /// A call of the new API.
    pub(crate) async fn call(sandbox: &Sandbox, path: &str, body: &Value) -> (u16, Value) {
        let token = token(sandbox).await;
        let request = http().post(format!("{}{path}", sandbox.base_url())).json(body);
        answer(request.header("x-acs-dingtalk-access-token", token)).await
    }

    /// A call of the old API.
    pub(crate) async fn old_call(sandbox: &Sandbox, path: &str, body: &Value) -> Value {
        let token = token(sandbox).await;
        let url = format!("{}{path}?access_token={token}", sandbox.base_url());
        let (status, body) = answer(http().post(url).json(body)).await;
        assert_eq!(status, 200);
        body
    }
}
