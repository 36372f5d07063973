//! Requests that the device needs, as values: whoever has a connection sends them and hands the answers back.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use matrix_sdk_crypto::OlmMachine;
use matrix_sdk_crypto::types::requests::{
    AnyIncomingResponse as Response, AnyOutgoingRequest, KeysQueryRequest, OutgoingRequest, ToDeviceRequest,
    UploadSigningKeysRequest,
};
use ruma::api::auth_scheme::SendAccessToken;
use ruma::api::client::keys::{claim_keys, get_keys, upload_keys, upload_signatures, upload_signing_keys};
use ruma::api::client::to_device::send_event_to_device;
use ruma::api::{MatrixVersion, SupportedVersions};
use ruma::serde::Raw;
use ruma::{OwnedTransactionId, TransactionId};

use crate::CryptoError;

/// What a request is about, which tells what its answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keys of our device.
    UploadKeys,
    /// Devices and identities of people.
    QueryKeys,
    /// One-time keys of people's devices.
    ClaimKeys,
    /// Messages to devices.
    ToDevice,
    /// Our cross-signing identity.
    UploadIdentity,
    /// Signatures of our device and identity.
    UploadSignatures,
}

/// One request of the Client-Server API.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it is about.
    pub kind: Kind,
    /// Its method.
    pub method: Method,
    /// Path and query, from the first slash.
    pub path: String,
    /// Its body, JSON.
    pub body: Vec<u8>,
    id: OwnedTransactionId,
}

/// An answer, read.
enum Answer {
    UploadKeys(upload_keys::v3::Response),
    QueryKeys(get_keys::v3::Response),
    ClaimKeys(claim_keys::v3::Response),
    ToDevice(send_event_to_device::v3::Response),
    UploadIdentity(upload_signing_keys::v3::Response),
    UploadSignatures(upload_signatures::v3::Response),
}

impl Request {
    fn new<R>(kind: Kind, id: OwnedTransactionId, request: R) -> Result<Self, CryptoError>
    where
        R: ruma::api::OutgoingRequest<Authentication = ruma::api::auth_scheme::AccessToken>,
        R: for<'a> ruma::api::OutgoingRequest<PathBuilder = ruma::api::path_builder::VersionHistory>,
    {
        let versions =
            SupportedVersions { versions: BTreeSet::from([MatrixVersion::V1_11]), features: BTreeSet::new() };
        // Address and token are the sender's; only what is behind the host is taken from here.
        let request = request.try_into_http_request::<Vec<u8>>(
            "https://homeserver",
            SendAccessToken::IfRequired("-"),
            std::borrow::Cow::Owned(versions),
        );
        let (head, body) = request.map_err(|error| CryptoError::Request(error.to_string()))?.into_parts();
        let path = head.uri.path_and_query().map_or_else(String::new, |path| path.as_str().to_owned());
        Ok(Self { kind, method: head.method, path, body, id })
    }

    /// What a machine wants to be sent; none where that belongs to a verification.
    pub fn outgoing(request: &OutgoingRequest) -> Result<Option<Self>, CryptoError> {
        let id = request.request_id().to_owned();
        match request.request() {
            AnyOutgoingRequest::KeysUpload(request) => {
                let mut upload = upload_keys::v3::Request::new();
                upload.device_keys.clone_from(&request.device_keys);
                upload.one_time_keys.clone_from(&request.one_time_keys);
                upload.fallback_keys.clone_from(&request.fallback_keys);
                Self::new(Kind::UploadKeys, id, upload).map(Some)
            }
            AnyOutgoingRequest::KeysQuery(request) => Self::query(id, request).map(Some),
            AnyOutgoingRequest::KeysClaim(request) => Self::claim(id, request).map(Some),
            AnyOutgoingRequest::ToDeviceRequest(request) => Self::to_device(request).map(Some),
            AnyOutgoingRequest::SignatureUpload(request) => Self::signatures(id, request).map(Some),
            // Belongs to a verification, which the bot takes no part in.
            AnyOutgoingRequest::RoomMessage(_) => Ok(None),
        }
    }

    fn query(id: OwnedTransactionId, request: &KeysQueryRequest) -> Result<Self, CryptoError> {
        let mut query = get_keys::v3::Request::new();
        query.timeout = request.timeout;
        query.device_keys.clone_from(&request.device_keys);
        Self::new(Kind::QueryKeys, id, query)
    }

    /// Asks for one-time keys.
    pub fn claim(id: OwnedTransactionId, request: &claim_keys::v3::Request) -> Result<Self, CryptoError> {
        let mut claim = claim_keys::v3::Request::new(request.one_time_keys.clone());
        claim.timeout = request.timeout;
        Self::new(Kind::ClaimKeys, id, claim)
    }

    /// Messages to devices.
    pub fn to_device(request: &ToDeviceRequest) -> Result<Self, CryptoError> {
        let ToDeviceRequest { event_type, txn_id, messages } = request;
        let messages: BTreeMap<_, _> = messages.clone();
        let send = send_event_to_device::v3::Request::new_raw(event_type.clone(), txn_id.clone(), messages);
        Self::new(Kind::ToDevice, txn_id.clone(), send)
    }

    pub(crate) fn signatures(
        id: OwnedTransactionId,
        request: &upload_signatures::v3::Request,
    ) -> Result<Self, CryptoError> {
        let upload = upload_signatures::v3::Request::new(request.signed_keys.clone());
        Self::new(Kind::UploadSignatures, id, upload)
    }

    pub(crate) fn identity(request: &UploadSigningKeysRequest) -> Result<Self, CryptoError> {
        let raw = |key: &Option<matrix_sdk_crypto::types::CrossSigningKey>| {
            let key = key.as_ref().map(|key| Ok::<_, serde_json::Error>(Raw::new(key)?.cast_unchecked()));
            key.transpose().map_err(|error| CryptoError::Request(error.to_string()))
        };
        let mut upload = upload_signing_keys::v3::Request::new();
        upload.master_key = raw(&request.master_key)?;
        upload.self_signing_key = raw(&request.self_signing_key)?;
        upload.user_signing_key = raw(&request.user_signing_key)?;
        Self::new(Kind::UploadIdentity, TransactionId::new(), upload)
    }

    /// Hands the machine that wanted it the body of an answer of 200.
    pub async fn answered(&self, olm: &OlmMachine, body: &[u8]) -> Result<(), CryptoError> {
        let answer = self.read(body)?;
        let response = match &answer {
            Answer::UploadKeys(answer) => Response::KeysUpload(answer),
            Answer::QueryKeys(answer) => Response::KeysQuery(answer),
            Answer::ClaimKeys(answer) => Response::KeysClaim(answer),
            Answer::ToDevice(answer) => Response::ToDevice(answer),
            Answer::UploadIdentity(answer) => Response::SigningKeysUpload(answer),
            Answer::UploadSignatures(answer) => Response::SignatureUpload(answer),
        };
        Ok(olm.mark_request_as_sent(&self.id, response).await?)
    }

    fn read(&self, body: &[u8]) -> Result<Answer, CryptoError> {
        fn parse<R: ruma::api::IncomingResponse>(body: &[u8]) -> Result<R, CryptoError> {
            R::try_from_http_response(http::Response::new(body))
                .map_err(|_| CryptoError::Request("the homeserver's answer is not as specified".to_owned()))
        }
        Ok(match self.kind {
            Kind::UploadKeys => Answer::UploadKeys(parse(body)?),
            Kind::QueryKeys => Answer::QueryKeys(parse(body)?),
            Kind::ClaimKeys => Answer::ClaimKeys(parse(body)?),
            Kind::ToDevice => Answer::ToDevice(parse(body)?),
            Kind::UploadIdentity => Answer::UploadIdentity(parse(body)?),
            Kind::UploadSignatures => Answer::UploadSignatures(parse(body)?),
        })
    }
}
