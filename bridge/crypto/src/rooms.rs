//! Locks of rooms.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use ruma::RoomId;
use tokio::sync::{Mutex, MutexGuard};

/// How many locks there are.
const SHARDS: usize = 64;

/// A lock for every room, in bounded memory: two rooms that share one only wait for each other.
#[derive(Debug)]
pub struct RoomLocks([Mutex<()>; SHARDS]);

impl Default for RoomLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl RoomLocks {
    /// Waits for the lock of a room.
    pub async fn lock(&self, room: &RoomId) -> MutexGuard<'_, ()> {
        self.0[shard(room)].lock().await
    }

    /// Waits for the locks of some rooms, always in the same order.
    pub(crate) async fn lock_all<'a>(
        &self,
        rooms: impl Iterator<Item = &'a RoomId>,
    ) -> Vec<MutexGuard<'_, ()>> {
        let mut shards: Vec<usize> = rooms.map(shard).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut guards = Vec::with_capacity(shards.len());
        for shard in shards {
            guards.push(self.0[shard].lock().await);
        }
        guards
    }
}

fn shard(room: &RoomId) -> usize {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0)
}
