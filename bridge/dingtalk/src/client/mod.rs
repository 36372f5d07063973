//! Calls to DingTalk (API.md sections 1 and 5 to 7). One client serves one app.

mod failed;
mod files;
mod gate;
mod http;
mod login;
mod recall;
mod send;
mod stream;
mod token;
mod users;

use std::sync::Arc;
use std::time::Duration;

use bridge_core::clock::Clock;
use bridge_core::secret::Secret;
use serde::Serialize;

use crate::error::{ApiError, Class, Effect, code, judge};
use crate::wire::json;

pub use files::{Fetched, FileStream, Upload};
pub use gate::Gate;
pub use http::{Allowed, ClientOptions, HttpClient, MAX_ANSWER_BYTES, OptionsError};
pub use login::{LoginError, LoginInfo};
pub use recall::{MOST_RECALLED, Recalled};
pub use send::DirectSent;
pub use stream::{Received, Stream};
pub use token::EARLY;
pub use users::{Picture, User};

/// What an app proves itself with (API.md section 1.1). `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The AppKey (Client ID); not secret.
    pub app_key: String,
    /// The AppSecret (Client Secret).
    pub app_secret: Secret,
}

/// A client of DingTalk. Share it in an [`Arc`]; all methods take `&self`.
pub struct Client {
    http: HttpClient,
    tokens: token::Tokens,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("http", &self.http).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenRequest<'a> {
    app_key: &'a str,
    app_secret: &'a str,
}

/// Which API a call belongs to (API.md section 0).
#[derive(Clone, Copy)]
enum Api {
    Old,
    New,
}

impl Client {
    /// Makes a client without credentials. The process must have a default `rustls` provider.
    pub fn new(options: &ClientOptions, clock: Arc<dyn Clock>) -> Result<Self, OptionsError> {
        Ok(Self { http: HttpClient::new(options)?, tokens: token::Tokens::new(clock) })
    }

    /// Takes other credentials, or none. Calls under way end with the former ones.
    pub fn set_credentials(&self, credentials: Option<Credentials>) {
        self.tokens.set_credentials(credentials);
    }

    /// Whether an address that came in a message may be called.
    pub fn allowed(&self, address: &str) -> bool {
        self.http.allowed(address)
    }

    /// Asks for a token, to learn whether DingTalk answers. Free of the monthly quota (API.md section 1.1).
    pub async fn ping(&self) -> Result<(), ApiError> {
        self.tokens.request(|credentials| self.fetch_token(credentials)).await.map(drop)
    }

    /// `POST api/v1.0/oauth2/accessToken` (API.md section 1.1).
    async fn fetch_token(&self, credentials: Arc<Credentials>) -> Result<token::Issued, ApiError> {
        let request =
            TokenRequest { app_key: &credentials.app_key, app_secret: credentials.app_secret.expose() };
        let body = zeroize::Zeroizing::new(serde_json::to_vec(&request).unwrap_or_default());
        let payload = http::Payload::Json(&body);
        let answer = self.http.new_api("/v1.0/oauth2/accessToken", None, payload, Effect::Reads).await?;
        let text = judge(answer.status, &answer.body, Effect::Reads, false)?;
        let [token, lifetime] = json::pick_any(text, &["accessToken", "expireIn"]);
        let token = json::filled(token).ok_or_else(|| unreadable(Effect::Reads))?;
        let seconds = json::number(lifetime).and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(7200);
        Ok(token::Issued { token: Secret::new(token), lifetime: Duration::from_secs(seconds.min(7200)) })
    }

    /// A call that needs a token. One that DingTalk refuses is replaced and the call repeated, once: a refused call
    /// was not carried out (API.md section 9).
    async fn call<T>(
        &self,
        api: Api,
        path: &str,
        payload: http::Payload<'_>,
        effect: Effect,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ApiError> {
        let fetch = |credentials| self.fetch_token(credentials);
        let token = self.tokens.get(fetch).await?;
        let outcome = self.call_with(api, path, &token, payload, effect, &read).await;
        match outcome {
            Err(error) if error.class == Class::TokenExpired => {
                self.tokens.invalidate(&token);
                let token = self.tokens.get(fetch).await?;
                self.call_with(api, path, &token, payload, effect, &read).await
            }
            outcome => outcome,
        }
    }

    /// A call with a given token, made once.
    async fn call_with<T>(
        &self,
        api: Api,
        path: &str,
        token: &Secret,
        payload: http::Payload<'_>,
        effect: Effect,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ApiError> {
        let token = Some(token.expose());
        let answer = match api {
            Api::Old => self.http.old(path, token, payload, effect).await?,
            Api::New => self.http.new_api(path, token, payload, effect).await?,
        };
        let text = judge(answer.status, &answer.body, effect, matches!(api, Api::Old))?;
        read(text).ok_or_else(|| unreadable(effect))
    }
}

/// The answer says success and lacks what it should bring.
fn unreadable(effect: Effect) -> ApiError {
    ApiError::own(code::ANSWER_UNREADABLE, effect.unclear(), "not the documented answer")
}

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
