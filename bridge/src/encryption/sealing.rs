//! Encrypts what is about to leave.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ruma::{OwnedRoomId, OwnedUserId};

use super::{Encryption, Problem};
use crate::app::App;

/// The ciphertext of a message for a room; none where the room is not encrypted. Each call uses up a step of the room's
/// key, so what it answers is kept and sent again as it is.
pub(crate) fn seal<'a>(
    app: &'a App,
    room: &'a OwnedRoomId,
    content: &'a str,
) -> BoxFuture<'a, Result<Option<String>, Problem>> {
    seal_now(app, room, content).boxed()
}

/// Whether what is said in a room has to be encrypted.
pub(crate) async fn applies(app: &App, room: &OwnedRoomId) -> Result<bool, Problem> {
    match &app.encryption {
        Some(encryption) => encryption.is_encrypted(&app.matrix, room).await,
        None => Ok(false),
    }
}

async fn seal_now(app: &App, room: &OwnedRoomId, content: &str) -> Result<Option<String>, Problem> {
    let Some(encryption) = &app.encryption else { return Ok(None) };
    if !applies(app, room).await? {
        return Ok(None);
    }
    let _order = encryption.order.lock(room).await;
    if encryption.settled.get(room).is_none() || !encryption.machine.has_usable_key(room) {
        let mark = encryption.settled.mark();
        let members = members(app, encryption, room).await?;
        share(app, encryption, room, &members).await?;
        encryption.settled.fill(room.clone(), (), mark);
    }
    let sealed = encryption.machine.encrypt(room, "m.room.message", content).await?;
    app.metrics.encrypted();
    Ok(Some(sealed))
}

/// Who gets the keys of a room: everybody who is in it but the bridge's own users. Their one device has the keys anyway.
async fn members(
    app: &App,
    encryption: &Encryption,
    room: &OwnedRoomId,
) -> Result<Arc<[OwnedUserId]>, Problem> {
    if let Some(known) = encryption.members.get(room) {
        return Ok(known);
    }
    let mark = encryption.members.mark();
    let joined = app.matrix.joined_members(room).await?;
    let members: Arc<[OwnedUserId]> = joined
        .into_iter()
        .map(|member| member.user)
        .filter(|user| !app.own.contains(user.as_str()))
        .collect();
    encryption.members.fill(room.clone(), Arc::clone(&members), mark);
    Ok(members)
}

/// Sees to it that all devices that should have the room's key have it.
async fn share(
    app: &App,
    encryption: &Encryption,
    room: &OwnedRoomId,
    members: &[OwnedUserId],
) -> Result<(), Problem> {
    let machine = &encryption.machine;
    {
        let _one = machine.sharing().await;
        machine.track(members).await?;
        for request in machine.requests().await? {
            encryption.send(&app.matrix, &request).await?;
        }
        if let Some(request) = machine.claim(members).await? {
            encryption.send(&app.matrix, &request).await?;
        }
    }
    for request in machine.share(room, members).await? {
        encryption.send(&app.matrix, &request).await?;
    }
    Ok(())
}
