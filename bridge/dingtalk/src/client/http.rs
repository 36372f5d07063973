//! One HTTP exchange with DingTalk: bases, time limits, allowed hosts, bounded answers.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, Response};
use url::{Host, Url};

use super::files::PublicOnly;
use super::gate::Gate;
use crate::error::{ApiError, Class, Effect, code};

/// Largest answer that is read, in bytes: a list of 200 failed events is not to be had a second time.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Where and how to reach DingTalk (API.md sections 0 and 10, point 15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Base of the old API, without trailing path.
    pub old_base: String,
    /// Base of the new API, without trailing path.
    pub new_base: String,
    /// Host names, with all below them, that addresses in messages may point to. The bases always may.
    pub allowed_hosts: Vec<String>,
    /// Host names, with all below them, that files may be fetched from. The bases always may.
    pub file_hosts: Vec<String>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a call may take in all.
    pub total_timeout: Duration,
    /// Certificates (PEM) to trust besides the public ones.
    pub ca: Option<Vec<u8>>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            old_base: "https://oapi.dingtalk.com".to_owned(),
            new_base: "https://api.dingtalk.com".to_owned(),
            allowed_hosts: vec!["dingtalk.com".to_owned(), "dingtalk.io".to_owned()],
            file_hosts: ["dingtalk.com", "dingtalk.io", "aliyuncs.com"].map(str::to_owned).to_vec(),
            connect_timeout: Duration::from_secs(3),
            total_timeout: Duration::from_secs(10),
            ca: None,
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A base is no `http` or `https` address of a host, or has a user, query or fragment.
    #[error("{0} is not the address of a server")]
    Base(String),
    /// An allowed host is no host name.
    #[error("{0} is not a host name")]
    Host(String),
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Which addresses from messages may be called (API.md section 5.1).
#[derive(Debug, Clone)]
pub struct Allowed {
    bases: Vec<Origin>,
    suffixes: Vec<String>,
    file_suffixes: Vec<String>,
}

/// Scheme, host and port.
type Origin = (String, Host<String>, Option<u16>);

fn origin(url: &Url) -> Option<Origin> {
    Some((url.scheme().to_owned(), url.host()?.to_owned(), url.port_or_known_default()))
}

impl Allowed {
    /// The bases and everything at or below the hosts that `options` names.
    pub fn new(options: &ClientOptions) -> Result<Self, OptionsError> {
        let bases = [&options.old_base, &options.new_base].into_iter().map(|base| {
            let url = base_url(base)?;
            origin(&url).ok_or_else(|| OptionsError::Base(base.clone()))
        });
        let domain = |host: &String| match Host::parse(host) {
            Ok(Host::Domain(domain)) if !domain.ends_with('.') && domain.contains('.') => Ok(domain),
            _ => Err(OptionsError::Host(host.clone())),
        };
        Ok(Self {
            bases: bases.collect::<Result<_, _>>()?,
            suffixes: options.allowed_hosts.iter().map(domain).collect::<Result<_, _>>()?,
            file_suffixes: options.file_hosts.iter().map(domain).collect::<Result<_, _>>()?,
        })
    }

    /// Whether an address may be called: exactly at a base, or `https` on the usual port at or below an allowed
    /// host. Never with a user name, and never an IP address that is not a base.
    pub fn permits(&self, address: &str) -> bool {
        match self.place(address) {
            Some(Place::Base) => true,
            Some(Place::Outside(url)) => url.scheme() == "https" && is_below(&url, &self.suffixes),
            None => false,
        }
    }

    /// Whether a file may be fetched: exactly at a base (`Some(false)`), or on the usual port at or below a host for
    /// files (`Some(true)`), where it may be plain `http` (API.md section 6).
    fn permits_file(&self, address: &str) -> Option<bool> {
        match self.place(address)? {
            Place::Base => Some(false),
            Place::Outside(url) => is_below(&url, &self.file_suffixes).then_some(true),
        }
    }

    /// An address without a user name, at a base or on the usual port elsewhere.
    fn place(&self, address: &str) -> Option<Place> {
        let url = Url::parse(address).ok()?;
        let origin = origin(&url)?;
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        if self.bases.contains(&origin) {
            return Some(Place::Base);
        }
        (matches!(url.scheme(), "http" | "https") && url.port().is_none()).then_some(Place::Outside(url))
    }
}

/// Where an address leads.
enum Place {
    Base,
    Outside(Url),
}

/// Whether the host is a name at or below one of these.
fn is_below(url: &Url, suffixes: &[String]) -> bool {
    let Some(Host::Domain(host)) = url.host() else { return false };
    suffixes.iter().any(|suffix| {
        host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

fn base_url(base: &str) -> Result<Url, OptionsError> {
    let bad = || OptionsError::Base(base.to_owned());
    let url = Url::parse(base).map_err(|_| bad())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let usable = matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.fragment().is_none();
    if plain && usable { Ok(url) } else { Err(bad()) }
}

/// The HTTP client of one process; cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: reqwest::Client,
    /// For files that are not at a base: names lead to public addresses only.
    outside: reqwest::Client,
    allowed: Allowed,
    old_base: String,
    new_base: String,
}

/// What an exchange sends.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    None,
    Json(&'a [u8]),
    /// A message, behind its gate.
    Message(&'a [u8], &'a Gate),
}

/// An answer: status and body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// How long a connection is kept without use.
const IDLE: Duration = Duration::from_secs(10);
/// Header of the new API that carries the token (API.md section 1.1).
const TOKEN_HEADER: &str = "x-acs-dingtalk-access-token";

impl HttpClient {
    /// Makes the client. The process must have a default `rustls` provider.
    pub fn new(options: &ClientOptions) -> Result<Self, OptionsError> {
        let allowed = Allowed::new(options)?;
        let unusable = |error: reqwest::Error| OptionsError::Tls(error.to_string());
        let extra =
            options.ca.as_deref().map(reqwest::Certificate::from_pem_bundle).transpose().map_err(unusable)?;
        let builder = || {
            reqwest::Client::builder()
                .tls_certs_merge(extra.clone().unwrap_or_default())
                .user_agent(concat!("dingtalk-bridge/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(options.connect_timeout)
                .timeout(options.total_timeout)
                .redirect(reqwest::redirect::Policy::none())
                // What may be repeated is decided here, not below. HTTP/1.1, because there a request that was taken
                // back unsent cannot be mistaken for one that was lost; idle connections are given up before a server
                // does, for the same reason.
                .retry(reqwest::retry::never())
                .http1_only()
                .pool_idle_timeout(IDLE)
                .referer(false)
        };
        let inner = builder().build().map_err(unusable)?;
        let outside = builder().dns_resolver(PublicOnly).build().map_err(unusable)?;
        let trimmed = |base: &str| base.trim_end_matches('/').to_owned();
        Ok(Self {
            inner,
            outside,
            allowed,
            old_base: trimmed(&options.old_base),
            new_base: trimmed(&options.new_base),
        })
    }

    /// Whether an address that came in a message may be called.
    pub fn allowed(&self, address: &str) -> bool {
        self.allowed.permits(address)
    }

    /// What fetches the file at an address that came with a message; none may when it is not DingTalk's.
    pub(super) fn file_client(&self, address: &str) -> Option<&reqwest::Client> {
        self.allowed.permits_file(address).map(|outside| if outside { &self.outside } else { &self.inner })
    }

    /// An upload of a kind, without its body.
    pub(super) fn upload_request(&self, kind: &str, token: &str) -> reqwest::RequestBuilder {
        let token = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
        self.inner.post(format!("{}/media/upload?access_token={token}&type={kind}", self.old_base))
    }

    /// A call of the old API; the token goes into the query.
    pub(super) async fn old(
        &self,
        path: &str,
        token: Option<&str>,
        payload: Payload<'_>,
        effect: Effect,
    ) -> Result<Answer, ApiError> {
        let mut address = format!("{}{path}", self.old_base);
        if let Some(token) = token {
            let token = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
            address = format!("{address}?access_token={token}");
        }
        self.exchange(&address, None, payload, effect).await
    }

    /// A call of the new API; the token goes into a header.
    pub(super) async fn new_api(
        &self,
        path: &str,
        token: Option<&str>,
        payload: Payload<'_>,
        effect: Effect,
    ) -> Result<Answer, ApiError> {
        self.exchange(&format!("{}{path}", self.new_base), token, payload, effect).await
    }

    /// Calls an address that came in a message or an answer.
    pub(super) async fn call_at(
        &self,
        address: &str,
        payload: Payload<'_>,
        effect: Effect,
    ) -> Result<Answer, ApiError> {
        if !self.allowed(address) {
            return Err(ApiError::own(
                code::ADDRESS_NOT_ALLOWED,
                Class::WrongData,
                "the address is not DingTalk's",
            ));
        }
        self.exchange(address, None, payload, effect).await
    }

    /// A request of its own kind to an address that was looked at.
    pub(super) fn get(&self, address: Url) -> reqwest::RequestBuilder {
        self.inner.get(address)
    }

    /// Sends such a request; the body of the answer is left to the caller.
    pub(super) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        effect: Effect,
    ) -> Result<Response, ApiError> {
        request.send().await.map_err(|error| transport(&error, effect))
    }

    async fn exchange(
        &self,
        address: &str,
        token: Option<&str>,
        payload: Payload<'_>,
        effect: Effect,
    ) -> Result<Answer, ApiError> {
        let post = || {
            let request = self.inner.request(Method::POST, address);
            request.header(reqwest::header::CONTENT_TYPE, "application/json")
        };
        let mut gate = None;
        let mut request = match payload {
            Payload::None => self.inner.request(Method::GET, address),
            Payload::Json(body) => post().body(body.to_vec()),
            Payload::Message(body, behind) => {
                gate = Some(behind);
                // The length is known, so DingTalk sees an ordinary request, not a stream.
                post()
                    .header(reqwest::header::CONTENT_LENGTH, body.len())
                    .body(behind.body(Bytes::copy_from_slice(body)))
            }
        };
        request = request.header(reqwest::header::ACCEPT, "application/json");
        if let Some(token) = token {
            let mut value = reqwest::header::HeaderValue::try_from(token).map_err(|_| {
                ApiError::own(code::ANSWER_UNREADABLE, Class::Retry, "the token is no header value")
            })?;
            value.set_sensitive(true);
            request = request.header(TOKEN_HEADER, value);
        }
        let response = request.send().await.map_err(|error| match gate {
            Some(gate) if !gate.was_opened() => {
                ApiError::own(code::NOT_CONNECTED, Class::Retry, reason(&error))
            }
            _ => transport(&error, effect),
        })?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: read(response, effect).await? })
    }
}

pub(super) async fn read(mut response: Response, effect: Effect) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error, effect))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(ApiError::own(code::ANSWER_TOO_LARGE, effect.unclear(), "the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A request without an answer. Only a request that could not be built or a connection that never stood proves that
/// nothing was sent: a time limit, a reset or an early end may all come after DingTalk has read the request.
pub(super) fn transport(error: &reqwest::Error, effect: Effect) -> ApiError {
    if error.is_builder() || error.is_connect() {
        ApiError::own(code::NOT_CONNECTED, Class::Retry, reason(error))
    } else {
        lost(error, effect)
    }
}

fn lost(error: &reqwest::Error, effect: Effect) -> ApiError {
    ApiError::own(code::ANSWER_LOST, effect.unclear(), reason(error))
}

/// What went wrong, without the address, which may hold a token.
fn reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        return "timed out";
    }
    if error.is_dns() {
        return "host name not found";
    }
    for io in causes::<std::io::Error>(error) {
        match io.kind() {
            std::io::ErrorKind::ConnectionRefused => return "connection refused",
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => {
                return "connection reset";
            }
            std::io::ErrorKind::TimedOut => return "timed out",
            std::io::ErrorKind::InvalidData => return "TLS failed",
            std::io::ErrorKind::NetworkUnreachable | std::io::ErrorKind::HostUnreachable => {
                return "unreachable";
            }
            _ => {}
        }
    }
    if error.is_connect() { "connection failed" } else { "connection closed" }
}

/// The causes of this type, the nearest first.
pub(super) fn causes<T: std::error::Error + 'static>(error: &reqwest::Error) -> impl Iterator<Item = &T> {
    std::iter::successors(error.source(), |cause| (*cause).source()).filter_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_from_their_hosts_only() {
        let options = ClientOptions { old_base: "http://127.0.0.1:8080".into(), ..ClientOptions::default() };
        let allowed = Allowed::new(&options).unwrap();
        let table = [
            ("http://127.0.0.1:8080/_files/a.file?Expires=1", Some(false)),
            ("https://down.oss-cn-hangzhou.aliyuncs.com/res/a.file?Expires=1", Some(true)),
            ("http://down.oss-cn-hangzhou.aliyuncs.com/res/a.file", Some(true)),
            ("https://static.dingtalk.com/media/a", Some(true)),
            ("http://127.0.0.1:9090/metrics", None),
            ("http://169.254.169.254/latest", None),
            ("http://2130706433/", None),
            ("http://[::ffff:10.0.0.1]/", None),
            ("https://aliyuncs.com.evil.example/a", None),
            ("https://evilaliyuncs.com/a", None),
            ("https://down.aliyuncs.com:8443/a", None),
            ("https://u:p@down.aliyuncs.com/a", None),
            ("ftp://down.aliyuncs.com/a", None),
            ("http://localhost/a", None),
            ("", None),
        ];
        for (address, expected) in table {
            assert_eq!(allowed.permits_file(address), expected, "{address}");
        }
    }

    #[test]
    fn only_dingtalk_may_be_called() {
        let options = ClientOptions { old_base: "http://127.0.0.1:8080".into(), ..ClientOptions::default() };
        let allowed = Allowed::new(&options).unwrap();
        let table = [
            ("https://oapi.dingtalk.com/robot/sendBySession?session=1", true),
            ("https://OAPI.DingTalk.COM/robot", true),
            ("https://dingtalk.com/", true),
            ("https://a.b.dingtalk.io:443/x", true),
            ("http://127.0.0.1:8080/robot/sendBySession", true),
            ("http://oapi.dingtalk.com/robot", false),
            ("https://oapi.dingtalk.com:8443/robot", false),
            ("https://127.0.0.1:8080/robot", false),
            ("http://127.0.0.1:8081/robot", false),
            ("http://127.0.0.1/robot", false),
            ("http://2130706433:8081/", false),
            ("http://[::1]:8080/", false),
            ("http://localhost:8080/", false),
            ("https://oapi.dingtalk.com@evil.example/", false),
            ("https://user:pw@oapi.dingtalk.com/", false),
            ("http://user@127.0.0.1:8080/", false),
            ("https://oapi.dingtalk.com.evil.example/", false),
            ("https://evildingtalk.com/", false),
            ("https://dingtalk.com.", false),
            ("https://evil.example/?dingtalk.com", false),
            ("https://evil.example\\.dingtalk.com/", false),
            ("https://[::ffff:127.0.0.1]/", false),
            ("ftp://oapi.dingtalk.com/", false),
            ("file:///etc/passwd", false),
            ("//oapi.dingtalk.com/", false),
            ("", false),
        ];
        for (address, expected) in table {
            assert_eq!(allowed.permits(address), expected, "{address}");
        }
    }

    #[test]
    fn bases_and_hosts_are_checked() {
        let with = |base: &str, host: &str| {
            let options = ClientOptions {
                new_base: base.into(),
                allowed_hosts: vec![host.into()],
                ..ClientOptions::default()
            };
            Allowed::new(&options).map(|_| ())
        };
        assert_eq!(with("https://api.dingtalk.io", "dingtalk.io"), Ok(()));
        for base in ["", "api.dingtalk.com", "ftp://a.b", "https://u@a.b", "https://a.b/?x=1", "data:x"] {
            assert_eq!(with(base, "dingtalk.io"), Err(OptionsError::Base(base.into())), "{base}");
        }
        for host in ["", "com", "127.0.0.1", "a b", "dingtalk.com."] {
            assert_eq!(with("https://a.b", host), Err(OptionsError::Host(host.into())), "{host}");
        }
    }
}
