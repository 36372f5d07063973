//! Names of single records.

use matrix_sdk_crypto::olm::SenderDataType;
use matrix_sdk_crypto::vodozemac::Curve25519PublicKey;

pub(super) const ACCOUNT: &str = "account";
pub(super) const IDENTITY: &str = "identity";
pub(super) const BACKUP_KEY: &str = "backup-key";
pub(super) const BACKUP_VERSION: &str = "backup-version";
pub(super) const DEHYDRATED: &str = "dehydrated";
pub(super) const BATCH: &str = "batch";

/// The tag of key requests that have not left.
pub(super) const UNSENT: &str = "unsent";

/// The tag of an inbound session: whose device made it, and how far that device is known.
pub(super) fn of_device(key: Curve25519PublicKey, known: SenderDataType) -> String {
    format!("{}/{}", key.to_base64(), known as u8)
}
