//! Who asks: the bridge as one of its users, or a human.

use crate::error::ApiError;
use crate::server::{Server, User};
use crate::sync::{lock, read};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use std::sync::Arc;

/// An authenticated request.
pub(crate) struct Requester {
    pub(crate) user: Arc<User>,
    pub(crate) device: Option<String>,
    /// Whether the bridge's token was used.
    pub(crate) is_as: bool,
    /// Whose transaction ids these are: all users of the bridge share them in Synapse.
    pub(crate) txn_owner: String,
}

impl Requester {
    pub(crate) fn id(&self) -> &str {
        &self.user.id
    }

    /// Key of the table that remembers requests until a restart.
    pub(crate) fn request_key(&self, path: &str, txn: &str) -> String {
        format!("{}\n{path}\n{txn}", self.txn_owner)
    }

    /// Key of the table that a restart keeps; only for requests with a device.
    pub(crate) fn device_key(&self, server: &Server, txn: &str) -> Option<String> {
        if server.is_palpo() {
            return Some(format!("{}\n\n{txn}", self.user.id));
        }
        self.device.as_ref().map(|device| format!("{}\n{device}\n{txn}", self.user.id))
    }
}

/// The parameters of the address that every call may carry.
#[derive(Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or("").as_bytes());
        Self(pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::parse(parts.uri.query()))
    }
}

fn token(headers: &HeaderMap, params: &Params) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = value.and_then(|value| value.strip_prefix("Bearer "));
    bearer.or_else(|| params.get("access_token")).map(str::to_owned)
}

/// Whether the request carries the bridge's token.
pub(crate) fn is_bridge(server: &Server, headers: &HeaderMap, params: &Params) -> Result<bool, ApiError> {
    let missing = || ApiError::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "Missing access token");
    Ok(token(headers, params).ok_or_else(missing)? == server.options.registration.as_token)
}

impl FromRequestParts<Arc<Server>> for Requester {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, ApiError> {
        let params = Params::parse(parts.uri.query());
        if is_bridge(server, &parts.headers, &params)? {
            return masquerade(server, &params);
        }
        let token = token(&parts.headers, &params).unwrap_or_default();
        let owner = read(&server.tokens).get(&token).cloned();
        let owner = owner.ok_or_else(|| {
            ApiError::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "Invalid access token passed.")
        })?;
        Ok(Self { user: owner.user, device: Some(owner.device), is_as: false, txn_owner: token })
    }
}

fn masquerade(server: &Server, params: &Params) -> Result<Requester, ApiError> {
    let device = params.get("device_id").or_else(|| params.get("org.matrix.msc3202.device_id"));
    let user_id = params.get("user_id");
    if user_id.is_none() && device.is_some() && !server.is_palpo() {
        return Err(ApiError::unknown(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"));
    }
    let user_id = user_id.unwrap_or(&server.sender);
    let user = match server.user(user_id) {
        Some(user) if user.is_as => user,
        Some(_) => return Err(outside()),
        None if !server.in_namespace(user_id) => return Err(outside()),
        // Palpo creates whom it does not know.
        None if server.is_palpo() => {
            server.add_user(user_id, None);
            server.user(user_id).ok_or_else(unregistered)?
        }
        None => return Err(unregistered()),
    };
    let device = device.filter(|_| !server.is_palpo());
    if let Some(device) = device
        && !lock(&user.inner).devices.contains_key(device)
    {
        let code = if params.get("device_id").is_some() {
            "M_UNKNOWN_DEVICE"
        } else {
            "ORG.MATRIX.MSC4326.M_UNKNOWN_DEVICE"
        };
        let text = format!(
            "Application service trying to use a device that doesn't exist ('{device}' for {user_id})"
        );
        return Err(ApiError::new(StatusCode::BAD_REQUEST, code, text));
    }
    let txn_owner = if server.is_palpo() { user.id.clone() } else { "appservice".to_owned() };
    Ok(Requester { user, device: device.map(str::to_owned), is_as: true, txn_owner })
}

fn outside() -> ApiError {
    ApiError::forbidden("Application service cannot masquerade as this user.")
}

fn unregistered() -> ApiError {
    ApiError::forbidden("Application service has not registered this user")
}
