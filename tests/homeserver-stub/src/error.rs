//! Matrix errors as HTTP answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What a handler gives back: a JSON body or a Matrix error.
pub(crate) type ApiResult<T = Json<Value>> = Result<T, ApiError>;

/// A Matrix error: status, `errcode`, text for people.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) errcode: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after_ms: Option<u64>,
    /// Further keys of the body (the ping error reports what the other side answered).
    pub(crate) extra: Option<Box<Value>>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, errcode: &'static str, message: impl Into<String>) -> Self {
        Self { status, errcode, message: message.into(), retry_after_ms: None, extra: None }
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", message)
    }

    pub(crate) fn bad_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_BAD_JSON", message)
    }

    pub(crate) fn invalid_param(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", message)
    }

    pub(crate) fn unknown(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "M_UNKNOWN", message)
    }

    pub(crate) fn limited(retry_after_ms: u64) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", "Too Many Requests");
        error.retry_after_ms = Some(retry_after_ms);
        error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({"errcode": self.errcode, "error": self.message});
        if let (Value::Object(body), Some(Value::Object(extra))) = (&mut body, self.extra.map(|extra| *extra))
        {
            body.extend(extra);
        }
        if let Some(ms) = self.retry_after_ms {
            body["retry_after_ms"] = ms.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        if let Some(ms) = self.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        response
    }
}
