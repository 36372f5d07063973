//! From what the crypto crate wants to keep to records.

use bridge_store::{CryptoRecord, SEEN};
use matrix_sdk_crypto::store::CryptoStoreError;
use matrix_sdk_crypto::store::types::Changes;
use ruma::RoomId;
use serde::Serialize;

use super::keys;

/// Kinds of records. `bridge-store` names `olm` and `outbound`, which it forgets when a backup is put back, and `room`,
/// which it counts.
pub(super) mod kind {
    pub(crate) const OWN: &str = "own";
    pub(crate) const OLM: &str = "olm";
    pub(crate) const INBOUND: &str = "inbound";
    pub(crate) const IN_BACKUP: &str = "in-backup";
    pub(crate) const OUTBOUND: &str = "outbound";
    pub(crate) const DEVICE: &str = "device";
    pub(crate) const IDENTITY: &str = "identity";
    pub(crate) const TRACKED: &str = "tracked";
    pub(crate) const REQUEST: &str = "request";
    pub(crate) const SECRET: &str = "secret";
    pub(crate) const WITHHELD: &str = "withheld";
    pub(crate) const ROOM: &str = "room";
    pub(crate) const BUNDLE: &str = "bundle";
    pub(crate) const BUNDLE_PENDING: &str = "bundle-pending";
    pub(crate) const DOWNLOADED: &str = "downloaded";
    pub(crate) const CUSTOM: &str = "custom";
}

/// Two names as one. Neither can be chosen so that it looks like another pair.
pub(super) fn pair(first: &str, second: &str) -> String {
    format!("{}:{first}{second}", first.len())
}

pub(super) fn write(
    kind: &'static str,
    name: &str,
    belongs: &str,
    value: &impl Serialize,
) -> Result<CryptoRecord, CryptoStoreError> {
    tagged(kind, name, belongs, "", value)
}

pub(super) fn tagged(
    kind: &'static str,
    name: &str,
    belongs: &str,
    tag: &str,
    value: &impl Serialize,
) -> Result<CryptoRecord, CryptoStoreError> {
    Ok(CryptoRecord {
        kind,
        name: name.to_owned(),
        belongs: belongs.to_owned(),
        tag: tag.to_owned(),
        value: Some(serde_json::to_vec(value)?),
    })
}

pub(super) fn forget(kind: &'static str, name: &str) -> CryptoRecord {
    CryptoRecord { kind, name: name.to_owned(), belongs: String::new(), tag: String::new(), value: None }
}

/// A session is in a backup.
pub(super) fn in_backup(
    version: &str,
    room: &RoomId,
    session: &str,
) -> Result<CryptoRecord, CryptoStoreError> {
    let session = pair(room.as_str(), session);
    write(kind::IN_BACKUP, &pair(version, &session), version, &session)
}

/// Everything of `changes` that is no session, no secret and no private key of ours.
///
/// `today` is what the hashes of messages belong to that are recognised when they come again.
pub(super) fn rest(
    changes: Changes,
    today: &str,
    into: &mut Vec<CryptoRecord>,
) -> Result<(), CryptoStoreError> {
    // No `..`: a field that is not written does not compile.
    let Changes {
        private_identity: _,
        backup_version,
        backup_decryption_key,
        dehydrated_device_pickle_key,
        sessions: _,
        message_hashes,
        inbound_group_sessions: _,
        outbound_group_sessions: _,
        key_requests,
        identities,
        devices,
        withheld_session_info,
        room_settings,
        secrets: _,
        next_batch_token,
        received_room_key_bundles,
        room_key_backups_fully_downloaded,
        rooms_pending_key_bundle,
    } = changes;
    if let Some(version) = backup_version {
        into.push(write(kind::OWN, keys::BACKUP_VERSION, "", &version)?);
    }
    if let Some(key) = backup_decryption_key {
        into.push(write(kind::OWN, keys::BACKUP_KEY, "", &key)?);
    }
    if let Some(key) = dehydrated_device_pickle_key {
        into.push(write(kind::OWN, keys::DEHYDRATED, "", &key)?);
    }
    for hash in message_hashes {
        into.push(write(SEEN, &pair(&hash.sender_key, &hash.hash), today, &())?);
    }
    for request in key_requests {
        let tag = if request.sent_out { "" } else { keys::UNSENT };
        let wanted = request.info.as_key();
        into.push(tagged(kind::REQUEST, request.request_id.as_str(), &wanted, tag, &request)?);
    }
    for identity in identities.new.into_iter().chain(identities.changed) {
        into.push(write(kind::IDENTITY, identity.user_id().as_str(), "", &identity)?);
    }
    for device in devices.new.into_iter().chain(devices.changed) {
        let user = device.user_id().as_str();
        into.push(write(kind::DEVICE, &pair(user, device.device_id().as_str()), user, &device)?);
    }
    for device in devices.deleted {
        into.push(forget(kind::DEVICE, &pair(device.user_id().as_str(), device.device_id().as_str())));
    }
    for (room, sessions) in withheld_session_info {
        for (session, entry) in sessions {
            into.push(write(kind::WITHHELD, &pair(room.as_str(), &session), room.as_str(), &entry)?);
        }
    }
    for (room, settings) in room_settings {
        into.push(write(kind::ROOM, room.as_str(), "", &settings)?);
    }
    if let Some(token) = next_batch_token {
        into.push(write(kind::OWN, keys::BATCH, "", &token)?);
    }
    for bundle in received_room_key_bundles {
        let name = pair(bundle.bundle_data.room_id.as_str(), bundle.sender_user.as_str());
        into.push(write(kind::BUNDLE, &name, "", &bundle)?);
    }
    for room in room_key_backups_fully_downloaded {
        into.push(write(kind::DOWNLOADED, room.as_str(), "", &())?);
    }
    for (room, details) in rooms_pending_key_bundle {
        into.push(match details {
            Some(details) => write(kind::BUNDLE_PENDING, room.as_str(), "", &details)?,
            None => forget(kind::BUNDLE_PENDING, room.as_str()),
        });
    }
    Ok(())
}
