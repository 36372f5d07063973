//! The crypto crate's store in the bridge's own database: sealed records in one table, written by the same commits.
//!
//! Every write is durable when its call returns, or, where several make one ([`as_one`]), when all of them are done. Writes
//! about the same thing are in order: the state of a session
//! is taken and written under one lock, so that an older state never replaces a newer one. Writes about different
//! rooms go on beside each other and share a synchronisation with the disk.

mod keys;
mod record;
mod writes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bridge_core::clock::Clock;
use bridge_store::{CryptoRecord, CryptoRecords, SEEN, Store};
use matrix_sdk_common::cross_process_lock::CrossProcessLockGeneration;
use matrix_sdk_common::cross_process_lock::memory_store_helper::{Lease, try_take_leased_lock};
use matrix_sdk_crypto::olm::{
    InboundGroupSession, OlmMessageHash, OutboundGroupSession, PickledAccount, PickledCrossSigningIdentity,
    PickledInboundGroupSession, PickledOutboundGroupSession, PickledSession, PrivateCrossSigningIdentity,
    SenderDataType, Session, StaticAccountData,
};
use matrix_sdk_crypto::store::types::{
    BackupDecryptionKey, BackupKeys, Changes, DehydratedDeviceKey, PendingChanges, RoomKeyCounts,
    RoomKeyWithheldEntry, RoomPendingKeyBundleDetails, RoomSettings, StoredRoomKeyBundleData,
};
use matrix_sdk_crypto::store::{CryptoStore, CryptoStoreError};
use matrix_sdk_crypto::vodozemac::Curve25519PublicKey;
use matrix_sdk_crypto::{Account, DeviceData, GossipRequest, SecretInfo, TrackedUser, UserIdentityData};
use ruma::events::secret::request::SecretName;
use ruma::{DeviceId, OwnedDeviceId, OwnedRoomId, RoomId, TransactionId, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OwnedMutexGuard};
use zeroize::Zeroizing;

use self::record::{forget, kind, pair, tagged, write};
pub(crate) use self::writes::as_one;
use self::writes::{Together, insist};
use crate::rooms::RoomLocks;

type Result<T, E = CryptoStoreError> = std::result::Result<T, E>;

/// The crypto crate's store.
pub struct Records {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    account: RwLock<Option<StaticAccountData>>,
    /// Held from taking the state of anything but an outbound session until it is durable.
    order: Arc<Mutex<()>>,
    /// The same for the outbound sessions of some rooms.
    rooms: RoomLocks,
    /// The outbound sessions that were written, as they are now: the crypto crate's copies share their state with it.
    outbound: RwLock<HashMap<OwnedRoomId, OutboundGroupSession>>,
    /// Only one process works on a database, so leases are its own business.
    leases: std::sync::Mutex<HashMap<String, Lease>>,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

impl Records {
    /// The records in a database.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            account: RwLock::default(),
            order: Arc::default(),
            rooms: RoomLocks::default(),
            outbound: RwLock::default(),
            leases: std::sync::Mutex::default(),
        }
    }

    /// The account that was loaded or saved.
    fn get_static_account(&self) -> Option<StaticAccountData> {
        self.account.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_account(&self, account: &Account) {
        *self.account.write().unwrap_or_else(PoisonError::into_inner) = Some(account.static_data().clone());
    }

    /// Whether the room's outbound session is known to be good for another message to those who have it.
    pub(crate) fn has_usable_key(&self, room: &RoomId) -> bool {
        let outbound = self.outbound.read().unwrap_or_else(PoisonError::into_inner);
        let session = outbound.get(room);
        session.is_some_and(|session| session.shared() && !session.invalidated() && !session.expired())
    }

    fn remember(&self, session: &OutboundGroupSession) {
        let mut outbound = self.outbound.write().unwrap_or_else(PoisonError::into_inner);
        outbound.insert(session.room_id().to_owned(), session.clone());
    }

    async fn get<T: DeserializeOwned>(&self, kind: &str, name: &str) -> Result<Option<T>> {
        let found = insist(|| self.store.crypto_record(kind, name)).await;
        let found = found.map_err(CryptoStoreError::backend)?;
        found.map(|value| parse(value)).transpose()
    }

    async fn list<T: DeserializeOwned>(&self, kind: &str, which: CryptoRecords<'_>) -> Result<Vec<T>> {
        let found = insist(|| self.store.crypto_records(kind, which)).await;
        let found = found.map_err(CryptoStoreError::backend)?;
        found.into_iter().map(|(_, value)| parse(value)).collect()
    }

    /// Taken before the state of anything but an outbound session is, and held until that is durable; by work that is
    /// written as one itself, to its end.
    async fn order(&self) -> Option<OwnedMutexGuard<()>> {
        match Together::current() {
            None => Some(Arc::clone(&self.order).lock_owned().await),
            Some(together) => {
                together.hold(&self.order).await;
                None
            }
        }
    }

    async fn commit(&self, records: Vec<CryptoRecord>) -> Result<()> {
        match Together::current() {
            None => self.write(records).await,
            Some(together) => {
                together.add(records);
                Ok(())
            }
        }
    }

    /// The same, now.
    async fn write(&self, records: Vec<CryptoRecord>) -> Result<()> {
        writes::write(&*self.store, records).await.map_err(CryptoStoreError::backend)
    }

    async fn save(&self, kind: &'static str, name: &str, value: &(impl Serialize + Sync)) -> Result<()> {
        let _order = self.order().await;
        self.commit(vec![write(kind, name, "", value)?]).await
    }

    async fn inbound(&self, which: CryptoRecords<'_>) -> Result<Vec<InboundGroupSession>> {
        let pickles: Vec<PickledInboundGroupSession> = self.list(kind::INBOUND, which).await?;
        pickles.into_iter().map(|pickle| Ok(InboundGroupSession::from_pickle(pickle)?)).collect()
    }

    async fn secrets(&self, name: &SecretName) -> Result<Vec<String>> {
        Ok(self.get(kind::SECRET, name.as_str()).await?.unwrap_or_default())
    }

    /// Names of the sessions that are in a backup.
    async fn in_backup(&self, version: &str) -> Result<HashSet<String>> {
        self.list(kind::IN_BACKUP, CryptoRecords::Of(version)).await.map(|names| names.into_iter().collect())
    }
}

fn parse<T: DeserializeOwned>(value: Vec<u8>) -> Result<T> {
    Ok(serde_json::from_slice(&Zeroizing::new(value))?)
}

async fn inbound_record(session: &InboundGroupSession) -> Result<CryptoRecord> {
    let name = pair(session.room_id().as_str(), session.session_id());
    let tag = keys::of_device(session.sender_key(), session.sender_data_type());
    tagged(kind::INBOUND, &name, session.room_id().as_str(), &tag, &session.pickle().await)
}

#[async_trait]
impl CryptoStore for Records {
    type Error = CryptoStoreError;

    async fn load_account(&self) -> Result<Option<Account>> {
        let Some(pickle) = self.get::<PickledAccount>(kind::OWN, keys::ACCOUNT).await? else {
            return Ok(None);
        };
        let account = Account::from_pickle(pickle)?;
        self.set_account(&account);
        Ok(Some(account))
    }

    async fn load_identity(&self) -> Result<Option<PrivateCrossSigningIdentity>> {
        let pickle = self.get::<PickledCrossSigningIdentity>(kind::OWN, keys::IDENTITY).await?;
        let identity = pickle.map(PrivateCrossSigningIdentity::from_pickle).transpose();
        identity.map_err(|_| CryptoStoreError::UnpicklingError)
    }

    async fn save_changes(&self, mut changes: Changes) -> Result<()> {
        // Messages of different rooms are encrypted beside each other.
        let outbound = std::mem::take(&mut changes.outbound_group_sessions);
        let only_outbound = changes.is_empty()
            && changes.room_key_backups_fully_downloaded.is_empty()
            && changes.rooms_pending_key_bundle.is_empty();
        // The order of the locks: first the one for all, then rooms.
        let _order = if only_outbound { None } else { self.order().await };
        let _rooms = self.rooms.lock_all(outbound.iter().map(OutboundGroupSession::room_id)).await;
        let mut records = Vec::new();
        for session in &changes.sessions {
            let sender = session.sender_key().to_base64();
            let pickle = session.pickle().await;
            records.push(write(kind::OLM, &pair(&sender, session.session_id()), &sender, &pickle)?);
        }
        for session in &changes.inbound_group_sessions {
            records.push(inbound_record(session).await?);
        }
        for session in &outbound {
            let pickle = session.pickle().await;
            records.push(write(kind::OUTBOUND, session.room_id().as_str(), "", &pickle)?);
            self.remember(session);
        }
        if let Some(identity) = &changes.private_identity {
            records.push(write(kind::OWN, keys::IDENTITY, "", &identity.pickle().await)?);
        }
        let mut secrets: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for item in &changes.secrets {
            let name = item.secret_name.as_str();
            let mut known = match secrets.remove(name) {
                Some(known) => known,
                None => self.secrets(&item.secret_name).await?,
            };
            known.push(item.secret.as_str().to_owned());
            secrets.insert(name, known);
        }
        for (name, secrets) in &secrets {
            records.push(write(kind::SECRET, name, "", secrets)?);
        }
        record::rest(changes, &bridge_store::day(self.clock.now()), &mut records)?;
        if outbound.is_empty() {
            return self.commit(records).await;
        }
        // Rooms are held no longer than this call.
        let mut all = Together::current().map(|together| together.take()).unwrap_or_default();
        all.extend(records);
        self.write(all).await
    }

    async fn save_pending_changes(&self, changes: PendingChanges) -> Result<()> {
        let Some(account) = changes.account else { return Ok(()) };
        self.set_account(&account);
        self.save(kind::OWN, keys::ACCOUNT, &account.pickle()).await
    }

    async fn save_inbound_group_sessions(
        &self,
        sessions: Vec<InboundGroupSession>,
        backed_up_to_version: Option<&str>,
    ) -> Result<()> {
        let _order = self.order().await;
        let mut records = Vec::new();
        for session in &sessions {
            records.push(inbound_record(session).await?);
            if let Some(version) = backed_up_to_version {
                records.push(record::in_backup(version, session.room_id(), session.session_id())?);
            }
        }
        self.commit(records).await
    }

    async fn get_sessions(&self, sender_key: &str) -> Result<Option<Vec<Session>>> {
        let pickles: Vec<PickledSession> = self.list(kind::OLM, CryptoRecords::Of(sender_key)).await?;
        if pickles.is_empty() {
            return Ok(None);
        }
        let own = self.get_own_device().await?.as_device_keys().clone();
        let session =
            |pickle| Session::from_pickle(own.clone(), pickle).map_err(|_| CryptoStoreError::UnpicklingError);
        pickles.into_iter().map(session).collect::<Result<_>>().map(Some)
    }

    async fn get_inbound_group_session(
        &self,
        room_id: &RoomId,
        session_id: &str,
    ) -> Result<Option<InboundGroupSession>> {
        let pickle = self.get(kind::INBOUND, &pair(room_id.as_str(), session_id)).await?;
        Ok(pickle.map(InboundGroupSession::from_pickle).transpose()?)
    }

    async fn get_withheld_info(
        &self,
        room_id: &RoomId,
        session_id: &str,
    ) -> Result<Option<RoomKeyWithheldEntry>> {
        self.get(kind::WITHHELD, &pair(room_id.as_str(), session_id)).await
    }

    async fn get_withheld_sessions_by_room_id(&self, room_id: &RoomId) -> Result<Vec<RoomKeyWithheldEntry>> {
        self.list(kind::WITHHELD, CryptoRecords::Of(room_id.as_str())).await
    }

    async fn get_inbound_group_sessions(&self) -> Result<Vec<InboundGroupSession>> {
        self.inbound(CryptoRecords::All).await
    }

    async fn inbound_group_session_counts(&self, backup_version: Option<&str>) -> Result<RoomKeyCounts> {
        let count = |kind, which| async move {
            let count = insist(|| self.store.crypto_count(kind, which)).await;
            let count = count.map_err(CryptoStoreError::backend)?;
            Ok::<_, CryptoStoreError>(usize::try_from(count).unwrap_or(usize::MAX))
        };
        let backed_up = match backup_version {
            Some(version) => count(kind::IN_BACKUP, CryptoRecords::Of(version)).await?,
            None => 0,
        };
        Ok(RoomKeyCounts { total: count(kind::INBOUND, CryptoRecords::All).await?, backed_up })
    }

    async fn get_inbound_group_sessions_by_room_id(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<InboundGroupSession>> {
        self.inbound(CryptoRecords::Of(room_id.as_str())).await
    }

    async fn get_inbound_group_sessions_for_device_batch(
        &self,
        curve_key: Curve25519PublicKey,
        sender_data_type: SenderDataType,
        after_session_id: Option<String>,
        limit: usize,
    ) -> Result<Vec<InboundGroupSession>> {
        let tag = keys::of_device(curve_key, sender_data_type);
        let mut sessions = self.inbound(CryptoRecords::Tagged(&tag)).await?;
        sessions.sort_by(|a, b| a.session_id().cmp(b.session_id()));
        let after = after_session_id.as_deref();
        sessions.retain(|session| after.is_none_or(|after| session.session_id() > after));
        sessions.truncate(limit);
        Ok(sessions)
    }

    async fn inbound_group_sessions_for_backup(
        &self,
        backup_version: &str,
        limit: usize,
    ) -> Result<Vec<InboundGroupSession>> {
        let there = self.in_backup(backup_version).await?;
        let mut sessions = self.inbound(CryptoRecords::All).await?;
        sessions.retain(|session| !there.contains(&pair(session.room_id().as_str(), session.session_id())));
        sessions.truncate(limit);
        Ok(sessions)
    }

    async fn mark_inbound_group_sessions_as_backed_up(
        &self,
        backup_version: &str,
        room_and_session_ids: &[(&RoomId, &str)],
    ) -> Result<()> {
        let _order = self.order().await;
        let mut records = Vec::new();
        for (room, session_id) in room_and_session_ids {
            if let Some(session) = self.get_inbound_group_session(room, session_id).await? {
                session.mark_as_backed_up();
                records.push(inbound_record(&session).await?);
                records.push(record::in_backup(backup_version, room, session_id)?);
            }
        }
        self.commit(records).await
    }

    async fn reset_backup_state(&self) -> Result<()> {
        // Which backup has what is kept per version.
        Ok(())
    }

    async fn load_backup_keys(&self) -> Result<BackupKeys> {
        Ok(BackupKeys {
            decryption_key: self.get::<BackupDecryptionKey>(kind::OWN, keys::BACKUP_KEY).await?,
            backup_version: self.get(kind::OWN, keys::BACKUP_VERSION).await?,
        })
    }

    async fn load_dehydrated_device_pickle_key(&self) -> Result<Option<DehydratedDeviceKey>> {
        self.get(kind::OWN, keys::DEHYDRATED).await
    }

    async fn delete_dehydrated_device_pickle_key(&self) -> Result<()> {
        let _order = self.order().await;
        self.commit(vec![forget(kind::OWN, keys::DEHYDRATED)]).await
    }

    async fn get_outbound_group_session(&self, room_id: &RoomId) -> Result<Option<OutboundGroupSession>> {
        let pickle = self.get::<PickledOutboundGroupSession>(kind::OUTBOUND, room_id.as_str()).await?;
        let Some(pickle) = pickle else { return Ok(None) };
        let account = self.get_static_account().ok_or(CryptoStoreError::AccountUnset)?;
        Ok(Some(OutboundGroupSession::from_pickle(account.device_id, account.identity_keys, pickle)?))
    }

    async fn load_tracked_users(&self) -> Result<Vec<TrackedUser>> {
        self.list(kind::TRACKED, CryptoRecords::All).await
    }

    async fn save_tracked_users(&self, users: &[(&UserId, bool)]) -> Result<()> {
        let _order = self.order().await;
        let record = |(user, dirty): &(&UserId, bool)| {
            let tracked = TrackedUser { user_id: (*user).to_owned(), dirty: *dirty };
            write(kind::TRACKED, user.as_str(), "", &tracked)
        };
        self.commit(users.iter().map(record).collect::<Result<_>>()?).await
    }

    async fn get_device(&self, user_id: &UserId, device_id: &DeviceId) -> Result<Option<DeviceData>> {
        self.get(kind::DEVICE, &pair(user_id.as_str(), device_id.as_str())).await
    }

    async fn get_user_devices(&self, user_id: &UserId) -> Result<HashMap<OwnedDeviceId, DeviceData>> {
        let devices: Vec<DeviceData> = self.list(kind::DEVICE, CryptoRecords::Of(user_id.as_str())).await?;
        Ok(devices.into_iter().map(|device| (device.device_id().to_owned(), device)).collect())
    }

    async fn get_own_device(&self) -> Result<DeviceData> {
        let account = self.get_static_account().ok_or(CryptoStoreError::AccountUnset)?;
        let device = self.get_device(&account.user_id, &account.device_id).await?;
        device.ok_or(CryptoStoreError::AccountUnset)
    }

    async fn get_user_identity(&self, user_id: &UserId) -> Result<Option<UserIdentityData>> {
        self.get(kind::IDENTITY, user_id.as_str()).await
    }

    async fn is_message_known(&self, message_hash: &OlmMessageHash) -> Result<bool> {
        let name = pair(&message_hash.sender_key, &message_hash.hash);
        Ok(self.get::<()>(SEEN, &name).await?.is_some())
    }

    async fn get_outgoing_secret_requests(
        &self,
        request_id: &TransactionId,
    ) -> Result<Option<GossipRequest>> {
        self.get(kind::REQUEST, request_id.as_str()).await
    }

    async fn get_secret_request_by_info(&self, secret_info: &SecretInfo) -> Result<Option<GossipRequest>> {
        let key = secret_info.as_key();
        Ok(self.list(kind::REQUEST, CryptoRecords::Of(&key)).await?.into_iter().next())
    }

    async fn get_unsent_secret_requests(&self) -> Result<Vec<GossipRequest>> {
        self.list(kind::REQUEST, CryptoRecords::Tagged(keys::UNSENT)).await
    }

    async fn delete_outgoing_secret_requests(&self, request_id: &TransactionId) -> Result<()> {
        let _order = self.order().await;
        self.commit(vec![forget(kind::REQUEST, request_id.as_str())]).await
    }

    async fn get_secrets_from_inbox(&self, secret_name: &SecretName) -> Result<Vec<Zeroizing<String>>> {
        Ok(self.secrets(secret_name).await?.into_iter().map(Zeroizing::new).collect())
    }

    async fn delete_secrets_from_inbox(&self, secret_name: &SecretName) -> Result<()> {
        let _order = self.order().await;
        self.commit(vec![forget(kind::SECRET, secret_name.as_str())]).await
    }

    async fn get_room_settings(&self, room_id: &RoomId) -> Result<Option<RoomSettings>> {
        self.get(kind::ROOM, room_id.as_str()).await
    }

    async fn get_received_room_key_bundle_data(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Option<StoredRoomKeyBundleData>> {
        self.get(kind::BUNDLE, &pair(room_id.as_str(), user_id.as_str())).await
    }

    async fn get_pending_key_bundle_details_for_room(
        &self,
        room_id: &RoomId,
    ) -> Result<Option<RoomPendingKeyBundleDetails>> {
        self.get(kind::BUNDLE_PENDING, room_id.as_str()).await
    }

    async fn get_all_rooms_pending_key_bundles(&self) -> Result<Vec<RoomPendingKeyBundleDetails>> {
        self.list(kind::BUNDLE_PENDING, CryptoRecords::All).await
    }

    async fn has_downloaded_all_room_keys(&self, room_id: &RoomId) -> Result<bool> {
        Ok(self.get::<()>(kind::DOWNLOADED, room_id.as_str()).await?.is_some())
    }

    async fn get_custom_value(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.get(kind::CUSTOM, key).await
    }

    async fn set_custom_value(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.save(kind::CUSTOM, key, &value).await
    }

    async fn remove_custom_value(&self, key: &str) -> Result<()> {
        let _order = self.order().await;
        self.commit(vec![forget(kind::CUSTOM, key)]).await
    }

    async fn try_take_leased_lock(
        &self,
        lease_duration_ms: u32,
        key: &str,
        holder: &str,
    ) -> Result<Option<CrossProcessLockGeneration>> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(try_take_leased_lock(&mut leases, lease_duration_ms, key, holder))
    }

    async fn next_batch_token(&self) -> Result<Option<String>> {
        self.get(kind::OWN, keys::BATCH).await
    }

    async fn close(&self) -> Result<()> {
        // The database is its owner's to close.
        Ok(())
    }

    async fn reopen(&self) -> Result<()> {
        Ok(())
    }

    async fn get_size(&self) -> Result<Option<usize>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
