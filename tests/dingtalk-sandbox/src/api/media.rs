//! Files both ways: download codes of what people sent, uploads of what bridges send.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{
        HeaderMap, StatusCode, Uri,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    api::{Arguments, authorize, authorize_new, json_body},
    model::Media,
    refusal::{Api, Refusal, Reply},
    state::Entry,
    world::World,
};

const MEGABYTE: usize = 1 << 20;

/// `POST /v1.0/robot/messageFiles/download`.
pub(crate) async fn download(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Reply {
    let app = authorize_new(&world, &headers, Some("qyapi_robot_sendmsg"))?;
    let body = json_body(&headers, &body)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("robotCode").is_empty() {
        return Err(Refusal::bad("invalidParameter.robotCode.empty", "robotCode不能为空"));
    }
    let state = world.state();
    let file = state.files.get(text("downloadCode")).filter(|file| !file.expired);
    let file = file
        .ok_or_else(|| Refusal::bad("invalidParameter.robotCode.downloadCode", "下载码有误或者已经过期"))?;
    if file.app_key != text("robotCode") || app.app_key != text("robotCode") {
        return Err(Refusal::bad("invalidParameter.robotCode.auth", "无权下载该文件"));
    }
    let expires = crate::now_ms() / 1000 + 3600;
    let url = format!("{}/_files/{}.file?Expires={expires}&Signature=sandbox%3D", world.base_url, file.key);
    Ok(Json(json!({"downloadUrl": url})))
}

/// The temporary address: no headers needed, no type told.
pub(crate) async fn file(
    State(world): State<Arc<World>>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let fresh =
        query.get("Expires").and_then(|t| t.parse().ok()).is_some_and(|t: i64| t * 1000 > crate::now_ms());
    let key = name.trim_end_matches(".file");
    let found = world.state().files.values().find(|file| file.key == key && !file.expired).cloned();
    let Some(file) = found.filter(|_| fresh && query.contains_key("Signature")) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    if file.base64.is_empty() {
        let length = [(CONTENT_LENGTH, file.size.to_string())];
        return (kind, length, Body::from_stream(generated(file.size))).into_response();
    }
    (kind, STANDARD.decode(&file.base64).unwrap_or_default()).into_response()
}

/// Counts upwards, byte by byte, without holding it all.
fn generated(size: u64) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> {
    const CHUNK: u64 = 256 * 64;
    let chunk = (0..CHUNK).map(|at| at as u8).collect::<Bytes>();
    futures_util::stream::iter((0..size.div_ceil(CHUNK)).map(move |number| {
        let rest = size - number * CHUNK;
        Ok(chunk.slice(..usize::try_from(rest.min(CHUNK)).unwrap_or(chunk.len())))
    }))
}

/// `POST /media/upload`.
pub(crate) async fn upload(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let arguments = Arguments::read(&uri, &HeaderMap::new(), b"");
    authorize(&world, Api::Old, arguments.token(), None)?;
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parts = parts(declared, &body).ok_or_else(|| Refusal::flat(41005, "缺少多媒体数据"))?;
    let form_kind = parts.iter().find(|part| part.field == "type");
    let form_kind = form_kind.map(|part| String::from_utf8_lossy(&part.bytes).into_owned());
    let kind = arguments.text("type").or(form_kind).unwrap_or_default();
    let (endings, most): (&[&str], usize) = match kind.as_str() {
        "image" => (&["jpg", "jpeg", "gif", "png", "bmp"], 20),
        "voice" => (&["amr", "mp3", "wav"], 2),
        "video" => (&["mp4"], 20),
        "file" => (&["doc", "docx", "xls", "xlsx", "ppt", "pptx", "zip", "pdf", "rar"], 20),
        _ => return Err(Refusal::flat(40004, "不合法的媒体文件类型")),
    };
    let media = parts.iter().find(|part| part.field == "media" && !part.file_name.is_empty());
    let media = media.ok_or_else(|| Refusal::flat(41005, "缺少多媒体数据"))?;
    let ending = media.file_name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    if media.content_type.is_empty() || !ending.is_some_and(|ending| endings.contains(&ending.as_str())) {
        return Err(Refusal::flat(40005, "不合法的文件类型"));
    }
    if media.bytes.is_empty() {
        return Err(Refusal::flat(44001, "空白的二进制文件"));
    }
    if media.bytes.len() > most * MEGABYTE {
        return Err(Refusal::flat(40006, "不合法的文件大小"));
    }
    let mut state = world.state();
    let media_id = state.ids.media();
    state.record(Entry::Media(Media {
        id: media_id.clone(),
        kind: kind.clone(),
        name: media.file_name.clone(),
        content_type: media.content_type.clone(),
        size: media.bytes.len(),
        bytes: media.bytes.clone(),
    }));
    Ok(Json(json!({
        "errcode": 0, "errmsg": "ok", "media_id": media_id, "created_at": crate::now_ms(), "type": kind,
    })))
}

#[derive(Debug, Default)]
struct Part {
    field: String,
    file_name: String,
    content_type: String,
    bytes: Bytes,
}

/// Parts of a `multipart/form-data` body.
fn parts(declared: &str, body: &Bytes) -> Option<Vec<Part>> {
    let rest = declared.strip_prefix("multipart/form-data")?;
    let (_, boundary) = rest.split_once("boundary=")?;
    let boundary = boundary.split(';').next()?.trim().trim_matches('"');
    let mark = format!("\r\n--{boundary}");
    let first = format!("--{boundary}");
    let mut at = body.starts_with(first.as_bytes()).then_some(first.len())?;
    let mut parts = Vec::new();
    while !body[at..].starts_with(b"--") {
        at += body[at..].starts_with(b"\r\n").then_some(2)?;
        let head_end = at + find(&body[at..], b"\r\n\r\n")?;
        let start = head_end + 4;
        let end = start + find(&body[start..], mark.as_bytes())?;
        let mut part = Part { bytes: body.slice(start..end), ..Part::default() };
        for line in String::from_utf8_lossy(&body[at..head_end]).split("\r\n") {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-type") {
                value.trim().clone_into(&mut part.content_type);
            } else if name.eq_ignore_ascii_case("content-disposition") {
                part.field = parameter(value, "name");
                part.file_name = parameter(value, "filename");
            }
        }
        parts.push(part);
        at = end + mark.len();
    }
    Some(parts)
}

fn parameter(value: &str, name: &str) -> String {
    let plain = value.split(';').filter_map(|part| part.trim().split_once('=')).find(|(key, _)| *key == name);
    plain.map(|(_, value)| value.trim_matches('"').to_owned()).unwrap_or_default()
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = wanted.first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| byte == first) {
        if text[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}
