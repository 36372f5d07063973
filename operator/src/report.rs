//! Asking a bridge for its report.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bridge_config::Report;
use operator_plan::{ReportFact, Secret};
use reqwest::{StatusCode, header};

use crate::key::Key;

/// How long a question may take; a bridge answers from memory.
const LIMIT: Duration = Duration::from_secs(5);

/// Largest report that is read, in bytes.
const MOST_BYTES: usize = bridge_config::MOST_REPORT_BYTES;

/// Asks bridges; what has not changed is not sent again.
#[derive(Debug)]
pub(crate) struct Reporter {
    http: reqwest::Client,
    tags: Mutex<HashMap<Key, (String, Arc<Report>)>>,
}

/// Why there is no report.
enum Problem {
    /// The bridge does not know the token.
    TokenRefused,
    Other(String),
}

impl Reporter {
    /// A reporter without memory.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(LIMIT)
            .connect_timeout(Duration::from_secs(2))
            .redirect(reqwest::redirect::Policy::none())
            // A connection per bridge would be kept for nothing most of the time.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()?;
        Ok(Self { http, tags: Mutex::default() })
    }

    /// Asks one bridge, with the `former` token if it does not know the other one yet.
    pub(crate) async fn ask(
        &self,
        key: &Key,
        url: &str,
        token: &Secret,
        former: Option<&Secret>,
    ) -> ReportFact {
        let before = self.tags().get(key).cloned();
        let request = |token: &Secret| {
            let request = self.http.get(url).bearer_auth(token.expose());
            match &before {
                Some((tag, _)) => request.header(header::IF_NONE_MATCH, tag),
                None => request,
            }
        };
        let mut read = self.read(key, request(token)).await;
        if let (Err(Problem::TokenRefused), Some(former)) = (&read, former) {
            read = self.read(key, request(former)).await;
        }
        match read {
            Ok(Some(report)) => ReportFact::Report(report),
            Ok(None) => match before {
                Some((_, report)) => ReportFact::Report(report),
                None => ReportFact::Unreachable("it answered that nothing has changed".to_owned()),
            },
            Err(Problem::TokenRefused) => ReportFact::Unreachable("it answered 401".to_owned()),
            Err(Problem::Other(why)) => ReportFact::Unreachable(why),
        }
    }

    /// The report; `None` when it is the one of before.
    async fn read(
        &self,
        key: &Key,
        request: reqwest::RequestBuilder,
    ) -> Result<Option<Arc<Report>>, Problem> {
        let told = |error: reqwest::Error| {
            let error = error.without_url();
            Problem::Other(if error.is_timeout() { "no answer in time" } else { "no connection" }.to_owned())
        };
        let mut response = request.send().await.map_err(told)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(None),
            StatusCode::UNAUTHORIZED => return Err(Problem::TokenRefused),
            status => return Err(Problem::Other(format!("it answered {}", status.as_u16()))),
        }
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if bytes.len() + chunk.len() > MOST_BYTES {
                return Err(Problem::Other("its report is too large".to_owned()));
            }
            bytes.extend_from_slice(&chunk);
        }
        let report = Arc::new(Report::from_json(&bytes).map_err(|fault| Problem::Other(fault.reason))?);
        match tag {
            Some(tag) => self.tags().insert(key.clone(), (tag, Arc::clone(&report))),
            None => self.tags().remove(key),
        };
        Ok(Some(report))
    }

    /// Forgets a bridge.
    pub(crate) fn forget(&self, key: &Key) {
        self.tags().remove(key);
    }

    fn tags(&self) -> std::sync::MutexGuard<'_, HashMap<Key, (String, Arc<Report>)>> {
        self.tags.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
