//! A headless browser, driven through the `DevTools` protocol over a pair of pipes.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::{Process, Spawn};

const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Browser {
    process: Process,
    commands: File,
    messages: Receiver<Value>,
    session: Option<String>,
    last: u64,
    // Dropped after the process: the browser writes into it.
    _profile: TempDir,
}

impl Browser {
    /// Starts the program and opens an address.
    pub(crate) async fn open(program: &Path, address: &str, log: &Path) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir()?;
        let (input, output) = (profile.path().join("in"), profile.path().join("out"));
        for pipe in [&input, &output] {
            let made = std::process::Command::new("mkfifo").arg(pipe).status()?;
            anyhow::ensure!(made.success(), "mkfifo failed");
        }
        // The protocol's pipes are the descriptors 3 and 4. For both directions at once, so that opening does not wait.
        let script =
            "program=$1 input=$2 output=$3; shift 3; exec \"$program\" \"$@\" 3<\"$input\" 4>\"$output\"";
        let both = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        let (commands, answers) = (both(&input)?, both(&output)?);
        let process = Spawn::new("sh")
            .args(["-c", script, "sh"])
            .arg(program)
            .arg(&input)
            .arg(&output)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--remote-debugging-pipe", "--window-size=1200,900"])
            .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
            .arg("about:blank")
            .log(log)
            .start()
            .await?;
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { continue };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { process, commands, messages, session: None, last: 0, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": address}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        Ok(browser)
    }

    fn call(&mut self, method: &str, params: &Value) -> anyhow::Result<Value> {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes())?;
        let end = Instant::now() + LIMIT;
        loop {
            let answer = match self.messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => anyhow::bail!("the browser does not answer {method}"),
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the browser has ended"),
            };
            if answer["id"] == self.last {
                anyhow::ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].clone());
            }
        }
    }

    /// The value of an expression in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> anyhow::Result<Value> {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &params)?;
        anyhow::ensure!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub(crate) fn wait(&mut self, what: &str, expression: &str) -> anyhow::Result<()> {
        // The page looks itself, ten times a second.
        let look = format!(
            "new Promise((done) => {{ const end = Date.now() + 30000; const look = () => {{ let there = false; \
             try {{ there = Boolean({expression}); }} catch {{}} if (there) done(true); \
             else if (Date.now() > end) done(false); else setTimeout(look, 100); }}; look(); }})"
        );
        let end = Instant::now() + LIMIT;
        loop {
            match self.evaluate(&look) {
                Ok(there) if there == true => return Ok(()),
                Ok(_) => break,
                // The page before is still going away.
                Err(error) if error.to_string().contains("context was destroyed") && Instant::now() < end => {
                }
                Err(error) => return Err(error),
            }
        }
        let shown = self.evaluate("document.body ? document.body.innerText : ''")?;
        anyhow::bail!("waited for {what} in vain; the page shows:\n{}", shown.as_str().unwrap_or_default())
    }

    /// Chooses an entry of a list.
    pub(crate) fn choose(&mut self, list: &str, value: &str) -> anyhow::Result<()> {
        let (list, value) = (json!(list), json!(value));
        self.wait(
            "the entry",
            &format!("[...document.querySelector({list}).options].some((o) => o.value === {value})"),
        )?;
        self.evaluate(&format!(
            "(() => {{ const list = document.querySelector({list}); list.value = {value}; \
             list.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
        ))?;
        Ok(())
    }

    /// Clicks into the middle of an element.
    pub(crate) fn click(&mut self, element: &str) -> anyhow::Result<()> {
        let place = self.evaluate(&format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'center'}}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()",
            json!(element)
        ))?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event)?;
        }
        Ok(())
    }

    /// Types into what was clicked.
    pub(crate) fn type_text(&mut self, text: &str) -> anyhow::Result<()> {
        self.call("Input.insertText", &json!({"text": text})).map(drop)
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.process.terminate(Duration::from_secs(10)).await.map(drop).context("closing the browser")
    }
}
