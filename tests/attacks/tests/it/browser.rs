//! A headless browser, driven through the `WebDriver` protocol.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Process, Spawn, free_port, wait_until};

/// How long the driver and the browser may take to start.
const START: Duration = Duration::from_mins(1);

/// The key under which the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The return key in typed text.
pub(crate) const ENTER: char = '\u{e007}';

/// A browser with one window. It ends when this is dropped.
pub(crate) struct Browser {
    http: reqwest::Client,
    session: String,
    _driver: Process,
}

impl Browser {
    /// Starts the driver and a browser with an empty profile below `dir`.
    pub(crate) async fn start(browser: &Path, dir: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let driver =
            Spawn::new("chromedriver").arg(format!("--port={port}")).log(dir.join("chromedriver.log"));
        let driver = driver.start().await.context(
            "chromedriver is missing beside the browser; install it: apt-get install chromium-driver",
        )?;
        test_support::install_crypto();
        let http = reqwest::Client::builder().no_proxy().timeout(START).build()?;
        let base = format!("http://127.0.0.1:{port}");
        let ready = async || {
            let answer = http.get(format!("{base}/status")).send().await.ok()?;
            let status: Value = answer.json().await.ok()?;
            (status["value"]["ready"] == true).then_some(())
        };
        driver.wait_ready(START, "chromedriver's first answer", ready).await?;
        let profile = format!("--user-data-dir={}", dir.join("browser").display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            &profile,
        ];
        let options = json!({"binary": browser, "args": arguments});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let answer = http.post(format!("{base}/session")).json(&wanted).send().await?;
        let answer: Value = answer.json().await?;
        let id = answer["value"]["sessionId"].as_str();
        let id = id.with_context(|| format!("{} did not start: {answer}", browser.display()))?;
        Ok(Self { session: format!("{base}/session/{id}"), http, _driver: driver })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let mut answer: Value = request.send().await?.json().await?;
        let value = answer["value"].take();
        anyhow::ensure!(value.get("error").is_none(), "{path}: {} {}", value["error"], value["message"]);
        Ok(value)
    }

    /// Opens an address.
    pub(crate) async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.call(Method::POST, "/url", Some(json!({"url": url}))).await.map(drop)
    }

    /// The first element that a CSS selector finds.
    async fn find(&self, selector: &str) -> anyhow::Result<String> {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.call(Method::POST, "/element", Some(wanted)).await?;
        Ok(found[ELEMENT].as_str().with_context(|| format!("no {selector}"))?.to_owned())
    }

    /// Clicks as a mouse does.
    pub(crate) async fn click(&self, selector: &str) -> anyhow::Result<()> {
        let element = self.find(selector).await?;
        self.call(Method::POST, &format!("/element/{element}/click"), Some(json!({}))).await.map(drop)
    }

    /// Types as a keyboard does.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let element = self.find(selector).await?;
        self.call(Method::POST, &format!("/element/{element}/value"), Some(json!({"text": text})))
            .await
            .map(drop)
    }

    /// What a person reads in an element.
    pub(crate) async fn text(&self, selector: &str) -> anyhow::Result<String> {
        let element = self.find(selector).await?;
        let text = self.call(Method::GET, &format!("/element/{element}/text"), None).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Chooses the entry with a value from a list, once it is there.
    pub(crate) async fn choose(&self, list: &str, value: &str, limit: Duration) -> anyhow::Result<()> {
        let entry = format!("{list} option[value=\"{value}\"]");
        let chosen = async || self.click(&entry).await.ok();
        wait_until(limit, &format!("{entry} to be there"), chosen).await
    }

    /// Waits until a person reads a text in an element.
    pub(crate) async fn wait_for_text(
        &self,
        selector: &str,
        text: &str,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let mut last = String::new();
        let what = format!("`{text}` in {selector}");
        let read = wait_until(limit, &what, async || {
            last = self.text(selector).await.ok()?;
            last.contains(text).then_some(())
        });
        read.await.with_context(|| format!("{selector} reads: {last}"))
    }

    /// Gives the window the size of a screen, in CSS pixels, one pixel each.
    pub(crate) async fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.call(Method::POST, "/goog/cdp/execute", Some(command)).await.map(drop)
    }

    /// Runs a script's body in the page; answers what it returns.
    pub(crate) async fn run(&self, script: &str) -> anyhow::Result<Value> {
        let body = json!({"script": script, "args": []});
        self.call(Method::POST, "/execute/sync", Some(body)).await
    }

    /// What a person sees, as PNG.
    pub(crate) async fn screenshot(&self) -> anyhow::Result<Vec<u8>> {
        let picture = self.call(Method::GET, "/screenshot", None).await?;
        STANDARD.decode(picture.as_str().unwrap_or_default()).context("the screenshot is no Base64")
    }

    /// Ends the browser.
    pub(crate) async fn quit(self) -> anyhow::Result<()> {
        self.call(Method::DELETE, "", None).await.map(drop)
    }
}
