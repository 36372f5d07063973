//! One call to the API server: its address, its send, and what an answer means.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body, core::ApiResource};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    Failure,
    backoff::spread,
    client::Why,
    client::{Verb, Within},
    failure::Status,
};

/// What need not be escaped in a part of a path or query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How often a read is sent at most.
const ATTEMPTS: u32 = 3;

/// A call that is not sent yet.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    verb: Verb,
    /// Path and query.
    address: String,
    content_type: &'static str,
    accept: &'static str,
    body: Bytes,
    within: Option<Duration>,
    why: &'static str,
}

/// JSON as the server has it.
const JSON: &str = "application/json";

impl Call {
    pub(crate) fn new(method: Method, verb: Verb, path: String, why: &'static str) -> Self {
        Self {
            method,
            verb,
            address: path,
            content_type: JSON,
            accept: JSON,
            body: Bytes::new(),
            within: None,
            why,
        }
    }

    /// One more parameter.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.address.push(if self.address.contains('?') { '&' } else { '?' });
        self.address.push_str(name);
        self.address.push('=');
        self.address.extend(utf8_percent_encode(value, PLAIN));
        self
    }

    /// One more parameter, if there is a value.
    pub(crate) fn query_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(crate) fn body(mut self, content_type: &'static str, body: &Value) -> Self {
        self.content_type = content_type;
        self.body = body.to_string().into();
        self
    }

    pub(crate) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// Another bound than the client's for this call.
    pub(crate) fn within(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    fn request(&self) -> Result<http::Request<Body>, Failure> {
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(&self.address)
            .header(header::ACCEPT, self.accept)
            .extension(Why(self.why))
            .extension(self.verb);
        if !self.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, self.content_type);
        }
        if let Some(within) = self.within {
            request = request.extension(Within(within));
        }
        request.body(Body::from(self.body.clone())).map_err(|error| Failure::refused(error.to_string()))
    }

    /// Sends it once. The answer's head, whatever its status.
    async fn once(&self, client: &Client) -> Result<http::Response<Body>, Failure> {
        client.send(self.request()?).await.map_err(|error| Failure::unavailable(chain(&error)))
    }

    /// Sends it once; a failure has the server's `Status` besides its class.
    pub(crate) async fn open(&self, client: &Client) -> Result<Body, Trouble> {
        let answer = self.once(client).await?;
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let body = collect(body).await?;
        Err(trouble(head.status, &head.headers, &body))
    }

    /// Sends a read, up to [`ATTEMPTS`] times within `bound`.
    pub(crate) async fn read(&self, client: &Client, bound: Duration) -> Result<Bytes, Trouble> {
        let deadline = Instant::now() + bound;
        let mut pause = Duration::from_millis(200);
        for _ in 1..ATTEMPTS {
            let trouble = match self.bounded(client, deadline).await {
                Ok(body) => return Ok(body),
                Err(trouble) => trouble,
            };
            let Failure::Unavailable { retry_after, .. } = &trouble.failure else { return Err(trouble) };
            let wait = retry_after.unwrap_or_else(|| spread(pause, 0.5));
            if Instant::now() + wait >= deadline {
                return Err(trouble);
            }
            sleep(wait).await;
            pause *= 2;
        }
        self.bounded(client, deadline).await
    }

    async fn bounded(&self, client: &Client, deadline: Instant) -> Result<Bytes, Trouble> {
        let call = async { Ok(collect(self.open(client).await?).await?) };
        timeout_at(deadline, call)
            .await
            .unwrap_or_else(|_| Err(Failure::unavailable("no answer in time").into()))
    }

    /// Sends it once, for calls whose repetition is the caller's matter, and reads the object in the answer.
    pub(crate) async fn send(&self, client: &Client) -> Result<Value, Failure> {
        let body = collect(self.open(client).await?).await?;
        object(&body)
    }
}

/// A failure, and whether only a new list helps.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    pub(crate) expired: bool,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, expired: false }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        trouble.failure
    }
}

fn trouble(status: StatusCode, headers: &http::HeaderMap, body: &[u8]) -> Trouble {
    let code = status.as_u16();
    let retry_after = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let status = Status::read(body);
    Trouble { failure: status.classify(code, retry_after), expired: status.expired(code) }
}

/// The whole body.
async fn collect(body: Body) -> Result<Bytes, Failure> {
    Ok(body.collect().await.map_err(|error| Failure::unavailable(chain(&error)))?.to_bytes())
}

/// The object in a body.
pub(crate) fn object(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::unavailable(format!("the answer is no JSON: {error}")))
}

/// An error and its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !words.ends_with(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        source = cause.source();
    }
    words
}

/// The path of a kind's objects, in one namespace or in all.
pub(crate) fn collection(resource: &ApiResource, namespace: Option<&str>) -> String {
    let mut path =
        if resource.group.is_empty() { "/api/".to_owned() } else { format!("/apis/{}/", resource.group) };
    path.push_str(&resource.version);
    if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) {
        path.push_str("/namespaces/");
        path.extend(utf8_percent_encode(namespace, PLAIN));
    }
    path.push('/');
    path.push_str(&resource.plural);
    path
}

/// The path of one object. An empty name would mean all of them, so it is refused.
pub(crate) fn item(resource: &ApiResource, namespace: &str, name: &str) -> Result<String, Failure> {
    if name.is_empty() {
        return Err(Failure::refused("an object without a name"));
    }
    let mut path = collection(resource, Some(namespace));
    path.push('/');
    path.extend(utf8_percent_encode(name, PLAIN));
    Ok(path)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};

    use super::*;

    #[test]
    fn paths_have_group_and_namespace_where_there_are_some() {
        let deployments = ApiResource::erase::<Deployment>(&());
        assert_eq!(collection(&deployments, None), "/apis/apps/v1/deployments");
        assert_eq!(item(&deployments, "a", "b").unwrap(), "/apis/apps/v1/namespaces/a/deployments/b");
        assert_eq!(item(&ApiResource::erase::<Namespace>(&()), "", "a").unwrap(), "/api/v1/namespaces/a");
    }

    #[test]
    fn a_name_never_leaves_its_place_in_the_path() {
        let deployments = ApiResource::erase::<Deployment>(&());
        assert!(item(&deployments, "a", "").is_err());
        let path = item(&deployments, "a/b", "c?d=e#f").unwrap();
        assert_eq!(path, "/apis/apps/v1/namespaces/a%2Fb/deployments/c%3Fd%3De%23f");
    }

    #[test]
    fn selectors_are_escaped() {
        let call = Call::new(Method::GET, Verb::List, "/x".into(), "test")
            .query("labelSelector", "a.b/c=d,e in (f,g)")
            .query_if("fieldSelector", None)
            .query("limit", "5");
        assert_eq!(call.address, "/x?labelSelector=a.b%2Fc%3Dd%2Ce%20in%20%28f%2Cg%29&limit=5");
    }
}
