//! Files for who looks at the world: what people attached, and what bridges uploaded.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{ControlError, Params, Shared};
use crate::state::Entry;

/// The types that a page shows by itself, and how such files begin.
const SHOWN: [(&str, &[u8]); 4] = [
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF8"),
    ("image/bmp", b"BM"),
];

/// Ends the download codes of all files.
pub(super) async fn expire(State(world): Shared) -> Json<Value> {
    let mut state = world.state();
    let files: Vec<_> = state.files.values().cloned().collect();
    for mut file in files {
        file.expired = true;
        state.record(Entry::File(file));
    }
    Json(json!({"ok": true}))
}

/// What a person attached, also after its download code has expired.
pub(super) async fn attached(State(world): Shared, Query(query): Params) -> Result<Response, ControlError> {
    let code = query.get("code").map(String::as_str).unwrap_or_default();
    let file = world.state().files.get(code).cloned();
    let file = file.ok_or_else(|| ControlError::unknown("download code", code))?;
    let bytes = STANDARD.decode(&file.base64).unwrap_or_default();
    let known = SHOWN.iter().find(|(_, begin)| bytes.starts_with(begin));
    Ok(harmless(known.map_or("application/octet-stream", |(kind, _)| kind), bytes.into()))
}

/// What a bridge uploaded, as it came.
pub(super) async fn upload(State(world): Shared, Path(id): Path<String>) -> Result<Response, ControlError> {
    let media = world.state().media.get(&id).cloned().ok_or_else(|| ControlError::unknown("media", &id))?;
    Ok(harmless(&media.content_type, media.bytes))
}

/// Whatever a file says, it runs nothing in the page's name.
fn harmless(content_type: &str, bytes: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    ];
    (headers, bytes).into_response()
}

/// A picture of one point, for people's `avatar`.
pub(super) async fn picture() -> Response {
    const POINT: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
        \0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";
    ([(CONTENT_TYPE, "image/png")], POINT).into_response()
}
