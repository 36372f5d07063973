//! Files (API.md section 6), as streams: nothing here holds more of a file than one chunk.
//!
//! Neither a download nor an upload has a time limit of its own, since a file takes as long as it takes: the caller
//! watches that bytes keep coming and drops the call when they do not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bridge_core::id::RobotCode;
use bridge_core::secret::Secret;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::Serialize;

use super::http::{self, Payload};
use super::{Api, Client, unreadable};
use crate::error::{ApiError, Class, Effect, code, judge};
use crate::wire::json;
use crate::wire::upload::{UploadKind, form};

/// Bytes of a file as they come. An error ends the file where it should not have ended.
pub type FileStream = BoxStream<'static, std::io::Result<Bytes>>;

/// A bound that only keeps a forgotten call from living for ever.
const LONGEST: Duration = Duration::from_hours(24);

/// A file that DingTalk holds.
pub struct Fetched {
    /// Its length in bytes, where the server says it.
    pub length: Option<u64>,
    /// Its bytes.
    pub body: FileStream,
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched").field("length", &self.length).finish_non_exhaustive()
    }
}

/// A file for DingTalk.
pub struct Upload<'a> {
    /// As what.
    pub kind: UploadKind,
    /// Its name, with an ending that the kind takes.
    pub name: &'a str,
    /// Its MIME type.
    pub content_type: &'a str,
    /// Its length in bytes, where it is known.
    pub length: Option<u64>,
    /// Its bytes.
    pub body: FileStream,
    /// Separates the parts of the form: letters and digits that occur in no file, so random ones.
    pub boundary: &'a str,
}

impl std::fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("kind", &self.kind)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DownloadRequest<'a> {
    download_code: &'a str,
    robot_code: &'a str,
}

impl Client {
    /// Where a file can be fetched for a while (`POST api/v1.0/robot/messageFiles/download`).
    /// [`ApiError::is_code_gone`] when the code does not live any more. The address is a secret: it needs no token.
    pub async fn download_address(&self, robot: &RobotCode, code: &str) -> Result<Secret, ApiError> {
        let request = DownloadRequest { download_code: code, robot_code: robot.as_str() };
        let body = serde_json::to_vec(&request).unwrap_or_default();
        let read = |text: &str| json::filled(json::pick_any(text, &["downloadUrl"])[0]).map(Secret::new);
        let path = "/v1.0/robot/messageFiles/download";
        self.call(Api::New, path, Payload::Json(&body), Effect::Reads, read).await
    }

    /// Begins to fetch a file from an address of [`Self::download_address`].
    /// [`code::FILE_NOT_ALLOWED`] when the settings do not allow its host, or it leads into a private network or elsewhere,
    /// [`code::FILE_GONE`] when there is nothing any more.
    pub async fn fetch(&self, address: &Secret) -> Result<Fetched, ApiError> {
        let client = self.http.file_client(address.expose()).ok_or_else(not_allowed)?;
        let answer = client.get(address.expose()).timeout(LONGEST).send().await;
        let answer = answer.map_err(|error| {
            if http::causes::<PrivateNetwork>(&error).next().is_some() {
                return not_allowed();
            }
            http::transport(&error, Effect::Reads)
        })?;
        match answer.status().as_u16() {
            200 => Ok(Fetched {
                length: answer.content_length(),
                body: answer.bytes_stream().map(|chunk| chunk.map_err(without_address)).boxed(),
            }),
            // An object store refuses signatures that have expired by 403.
            403 | 404 | 410 => Err(ApiError::own(code::FILE_GONE, Class::WrongData, "the file is gone")),
            // Redirects are not followed: where they lead was not looked at.
            300..400 => Err(not_allowed()),
            status => {
                Err(ApiError::own(&format!("http.{status}"), Class::Retry, "the file was not given out"))
            }
        }
    }

    /// Uploads a file and answers its media id (`POST oapi/media/upload`). A media id lasts, and one that is not used
    /// does no harm. [`ApiError::is_file_refused`] when DingTalk does not take it. A token that was refused is
    /// forgotten, but the call is not repeated: the bytes are gone.
    pub async fn upload(&self, file: Upload<'_>) -> Result<String, ApiError> {
        let token = self.tokens.get(|credentials| self.fetch_token(credentials)).await?;
        let Upload { kind, name, content_type, length, body, boundary } = file;
        let form = form(boundary, name, content_type);
        let around = (form.head.len() + form.tail.len()) as u64;
        let piece = |text: String| stream::once(async move { Ok(Bytes::from(text)) });
        let body = piece(form.head).chain(body).chain(piece(form.tail));
        let mut request = self.http.upload_request(kind.as_str(), token.expose()).timeout(LONGEST);
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length + around);
        }
        let request = request.header(CONTENT_TYPE, form.content_type).body(reqwest::Body::wrap_stream(body));
        let answer = request.send().await.map_err(|error| http::transport(&error, Effect::Reads))?;
        let status = answer.status().as_u16();
        let answer = http::read(answer, Effect::Reads).await?;
        let judged = judge(status, &answer, Effect::Reads, true);
        if matches!(&judged, Err(error) if error.class == Class::TokenExpired) {
            self.tokens.invalidate(&token);
        }
        let [id] = json::pick_any(judged?, &["media_id"]);
        json::filled(id).map(std::borrow::Cow::into_owned).ok_or_else(|| unreadable(Effect::Reads))
    }
}

fn not_allowed() -> ApiError {
    ApiError::own(code::FILE_NOT_ALLOWED, Class::WrongData, "the file's address may not be called")
}

fn without_address(error: reqwest::Error) -> std::io::Error {
    std::io::Error::other(error.without_url())
}

/// A name leads to an address that no file of DingTalk has.
#[derive(Debug, thiserror::Error)]
#[error("the name leads into a private network")]
struct PrivateNetwork;

/// Resolves names to public addresses only: a name below an allowed domain must not lead inside.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found.into_iter().filter(|found| is_public(found.ip())).collect();
            if public.is_empty() {
                return Err(PrivateNetwork.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_public_v4(address),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let reserved = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || first == 0
        || first >= 240
        // Carriers' shared space, protocol assignments, benchmarks (RFC 6890).
        || first == 100 && (64..128).contains(&second)
        || (first, second, third) == (192, 0, 0)
        || first == 198 && (18..20).contains(&second);
    !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Global unicast is 2000::/3; in it 6to4 and Teredo carry IPv4 addresses inside.
    let [first, second, ..] = address.segments();
    first & 0xe000 == 0x2000 && first != 0x2002 && !(first == 0x2001 && (second == 0 || second == 0xdb8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "2002:0a00:1::",
            "2001:db8::1",
            "64:ff9b::a00:1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["8.8.8.8", "47.88.1.1", "2400:3200::1", "::ffff:8.8.8.8"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }
}
