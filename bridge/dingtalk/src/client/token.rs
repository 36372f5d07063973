//! The access token (API.md section 1.1): one per app, kept, and asked for once however many need it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::clock::{Clock, Timestamp};
use bridge_core::secret::Secret;

use super::Credentials;
use crate::error::{ApiError, Class, code};

/// How long before its end a token is replaced.
pub const EARLY: Duration = Duration::from_mins(5);
/// How long a token that could not be replaced early is used before the next attempt.
const AGAIN: Duration = Duration::from_secs(30);

/// A token as it was given.
pub(super) struct Issued {
    pub(super) token: Secret,
    pub(super) lifetime: Duration,
}

struct Token {
    text: Arc<Secret>,
    refresh_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Default)]
struct State {
    credentials: Option<Arc<Credentials>>,
    token: Option<Token>,
    /// How the latest request for a token ended, when it failed.
    failure: Option<ApiError>,
}

/// The token of the credentials at hand.
pub(super) struct Tokens {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held while a token is asked for; the others wait.
    flight: tokio::sync::Mutex<()>,
    /// How many requests for a token have ended.
    ended: AtomicU64,
}

impl Tokens {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
            ended: AtomicU64::new(0),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes other credentials, or none; the token of the former ones is forgotten.
    pub(super) fn set_credentials(&self, credentials: Option<Credentials>) {
        let mut state = self.state();
        if state.credentials.as_deref() != credentials.as_ref() {
            *state = State { credentials: credentials.map(Arc::new), ..State::default() };
        }
    }

    /// Forgets `token` if it is still the one in use, because DingTalk has refused it.
    pub(super) fn invalidate(&self, token: &Secret) {
        let mut state = self.state();
        if state.token.as_ref().is_some_and(|known| *known.text == *token) {
            state.token = None;
        }
    }

    /// The token, asked for through `fetch` if there is none that lives long enough. One that cannot be replaced
    /// early is used until its end.
    pub(super) async fn get<F, R>(&self, fetch: F) -> Result<Arc<Secret>, ApiError>
    where
        F: Fn(Arc<Credentials>) -> R,
        R: Future<Output = Result<Issued, ApiError>>,
    {
        let now = self.clock.now();
        {
            let state = self.state();
            if let Some(token) = state.token.as_ref().filter(|token| now < token.refresh_at) {
                return Ok(Arc::clone(&token.text));
            }
        }
        let error = match self.request(fetch).await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        let state = self.state();
        let old = state.token.as_ref().filter(|token| now < token.expires_at);
        old.map(|old| Arc::clone(&old.text)).ok_or(error)
    }

    /// Asks for a token in any case; who asks at the same time shares the answer, also a failure.
    pub(super) async fn request<F, R>(&self, fetch: F) -> Result<Arc<Secret>, ApiError>
    where
        F: Fn(Arc<Credentials>) -> R,
        R: Future<Output = Result<Issued, ApiError>>,
    {
        let seen = self.ended.load(Ordering::Acquire);
        let _flight = self.flight.lock().await;
        let (credentials, shared) = {
            let state = self.state();
            let credentials = state.credentials.clone().ok_or_else(no_credentials)?;
            (credentials, (self.ended.load(Ordering::Acquire) != seen).then(|| outcome(&state)).flatten())
        };
        if let Some(shared) = shared {
            return shared;
        }
        let issued = fetch(Arc::clone(&credentials)).await;
        let now = self.clock.now();
        let mut state = self.state();
        // Credentials that changed meanwhile make the answer worthless for everybody else.
        if !state.credentials.as_ref().is_some_and(|current| Arc::ptr_eq(current, &credentials)) {
            return issued.map(|issued| Arc::new(issued.token));
        }
        self.ended.fetch_add(1, Ordering::Release);
        match issued {
            Ok(Issued { token, lifetime }) => {
                let token = Arc::new(token);
                let life = lifetime.saturating_sub(EARLY).max(lifetime / 2);
                state.failure = None;
                state.token = Some(Token {
                    text: Arc::clone(&token),
                    refresh_at: now.plus(life),
                    expires_at: now.plus(lifetime),
                });
                Ok(token)
            }
            Err(error) => {
                // An old token that still lives stays, unless DingTalk has taken the credentials back.
                let rejected = matches!(error.class, Class::BadCredentials | Class::Denied);
                state.token = state.token.take().filter(|token| !rejected && now < token.expires_at);
                if let Some(old) = state.token.as_mut() {
                    old.refresh_at = now.plus(AGAIN);
                }
                state.failure = Some(error.clone());
                Err(error)
            }
        }
    }
}

/// How the request that was waited for has ended; `None` when its token was invalidated since.
fn outcome(state: &State) -> Option<Result<Arc<Secret>, ApiError>> {
    match (&state.failure, &state.token) {
        (Some(failure), _) => Some(Err(failure.clone())),
        (None, Some(token)) => Some(Ok(Arc::clone(&token.text))),
        (None, None) => None,
    }
}

fn no_credentials() -> ApiError {
    ApiError::own(code::NO_CREDENTIALS, Class::BadCredentials, "no credentials are set")
}
