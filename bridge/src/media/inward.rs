//! DingTalk → Matrix: asks where the file is, and streams it from there to the homeserver.

use std::time::Duration;

use bridge_core::delivery::attempt::Outcome;
use bridge_core::event::{ChatFile, FileKey, FileKind};
use bridge_core::reply::{FileProblem, Reply};
use bridge_dingtalk::client::Fetched;
use bridge_dingtalk::error::{ApiError, code};
use bridge_matrix::client::Upload;
use bridge_matrix::error::{Class, MatrixError};
use bridge_matrix::wire::file::{FileContent, file_content};
use futures_util::StreamExt;
use ruma::{OwnedMxcUri, UserId};

use super::cipher;
use super::kind::{self, Looked};
use super::stream::{Meter, peek, watched};
use super::{BROKEN, Row, STALLED, keep, limit, note, one_step, two_steps};
use crate::app::App;
use crate::encryption::sealing;
use crate::relay::op::{MatrixSend, Rendered, ShowFile, notice_content};
use crate::relay::{outcome, send};

/// Why there is nothing to show.
enum Failure {
    /// It will not change: the room is told in place of the file.
    Told(FileProblem, Option<u64>),
    /// Another attempt may work, or an admin can change it.
    Later(Outcome),
}

impl From<Outcome> for Failure {
    fn from(outcome: Outcome) -> Self {
        Self::Later(outcome)
    }
}

/// Brings a file to the homeserver and answers with the message that shows it, or that says why there is none.
pub(super) async fn carry(app: &App, row: Row<'_>, file: &mut ShowFile) -> Result<Rendered, Outcome> {
    let user = send::ready_ghost(app, &file.ghost, &file.room).await?;
    if file.key.is_none() && sealing::applies(app, &file.room).await.map_err(|problem| problem.outcome())? {
        // A name that was given for the file in the clear is not used for this.
        file.uri = None;
        file.key = Some(cipher::new_key(&*app.entropy));
    }
    let carried = match stored(app, file).await? {
        Some(carried) => Ok(carried),
        None => transfer(app, row, file, &user).await,
    };
    if let Err(Failure::Told(FileProblem::Elsewhere, _)) = &carried {
        app.metrics.refused("file", code::FILE_NOT_ALLOWED);
    }
    let content = match carried {
        Ok(carried) => show(file, &carried),
        Err(Failure::Later(outcome)) => return Err(outcome),
        Err(Failure::Told(why, size)) => {
            tracing::warn!(key = row.key.as_str(), ?why, "a file cannot be shown");
            let note = note(file.file.kind, file.file.name.clone(), size, why);
            notice_content(&Reply::FileNotShown(note).bilingual(), file.reply_to.as_deref())
        }
    };
    let (room, ghost) = (file.room.clone(), Some(file.ghost.clone()));
    Ok(Rendered::Matrix(MatrixSend {
        room,
        ghost,
        content,
        sealed: None,
        at: file.at,
        origin: file.origin.clone(),
    }))
}

/// A file that the homeserver has.
struct Carried {
    uri: OwnedMxcUri,
    key: Option<FileKey>,
    looked: Looked,
    size: Option<u64>,
}

/// The file, where an earlier attempt has brought it to the homeserver already.
async fn stored(app: &App, file: &ShowFile) -> Result<Option<Carried>, Outcome> {
    let Some(uri) = &file.uri else { return Ok(None) };
    let meter = Meter::default();
    let look = async {
        let found = app.matrix.download(uri, Duration::ZERO).await?;
        let size = found.length;
        let Some(key) = &file.key else {
            let head = peek(found.body).await.map(|(head, _)| head).unwrap_or_default();
            let looked = kind::look(&head, file.file.name.as_deref());
            return Ok(Some(Carried { uri: uri.clone(), key: None, looked, size }));
        };
        // Its digest has to be said, and is known to whoever has read all of it.
        let (body, passed) = cipher::digest(meter.count(found.body, None));
        let Ok((head, mut body)) = peek(cipher::apply(body, key)).await else { return Ok(None) };
        while let Some(chunk) = body.next().await {
            if chunk.is_err() {
                return Ok(None);
            }
        }
        let looked = kind::look(&head, file.file.name.as_deref());
        let key = FileKey { sha256: passed.sha256(None), ..key.clone() };
        Ok::<_, MatrixError>(Some(Carried { uri: uri.clone(), key: Some(key), looked, size }))
    };
    match watched(&meter, app.config.media.stall_timeout.get(), look).await {
        Ok(Ok(Some(carried))) => Ok(Some(carried)),
        Ok(Ok(None)) => Err(Outcome::Failed { code: BROKEN.to_owned() }),
        Ok(Err(error)) if error.is_not_yet_uploaded() || error.class == Class::NotFound => Ok(None),
        Ok(Err(error)) => Err(outcome::of_matrix(&error)),
        Err(_) => Err(Outcome::Failed { code: STALLED.to_owned() }),
    }
}

async fn transfer(app: &App, row: Row<'_>, file: &mut ShowFile, user: &UserId) -> Result<Carried, Failure> {
    let limit = limit(app).await?;
    let pause = app.config.media.stall_timeout.get();
    let meter = Meter::default();
    let stalled = |_| Failure::Later(Outcome::Failed { code: STALLED.to_owned() });
    let broken = || Failure::Later(Outcome::Failed { code: BROKEN.to_owned() });
    let Fetched { length, body } =
        watched(&meter, pause, fetch(app, &file.file, file)).await.map_err(stalled)??;
    if let (Some(length), Some(limit)) = (length, limit)
        && length > limit
    {
        return Err(Failure::Told(FileProblem::TooLarge { limit: Some(limit) }, Some(length)));
    }
    let body = meter.count(body, limit);
    let looked = watched(&meter, pause, peek(body)).await.map_err(stalled)?;
    let (head, body) = looked.map_err(|_| too_large_or(&meter, limit, broken))?;
    let looked = kind::look(&head, file.file.name.as_deref());
    let key = file.key.clone();
    let (upload, passed) = match &key {
        None => {
            let (content_type, name) = (looked.content_type.clone(), name(&file.file, &looked));
            (Upload { content_type, name: Some(name), length, body }, None)
        }
        // Neither name nor type is the homeserver's business.
        Some(key) => {
            let (body, passed) = cipher::encrypt(body, key);
            let content_type = "application/octet-stream".to_owned();
            (Upload { content_type, name: None, length, body }, Some(passed))
        }
    };
    let uploaded = watched(&meter, pause, put(app, row, file, user, upload)).await.map_err(stalled)?;
    match uploaded {
        Ok(uri) => {
            let sha256 = passed.and_then(|passed| passed.sha256(length));
            let key = key.map(|key| FileKey { sha256, ..key });
            if key.as_ref().is_some_and(|key| key.sha256.is_none()) {
                // It was there before: the next attempt reads it.
                return Err(broken());
            }
            Ok(Carried { uri, key, looked, size: length.or(Some(meter.bytes())) })
        }
        Err(Failure::Later(_)) if meter.is_over() || meter.is_broken() => {
            Err(too_large_or(&meter, limit, broken))
        }
        Err(Failure::Told(FileProblem::TooLarge { .. }, _)) => {
            Err(Failure::Told(FileProblem::TooLarge { limit }, length))
        }
        Err(later) => Err(later),
    }
}

/// Why a file ended early.
fn too_large_or(meter: &Meter, limit: Option<u64>, otherwise: impl Fn() -> Failure) -> Failure {
    if meter.is_over() { Failure::Told(FileProblem::TooLarge { limit }, None) } else { otherwise() }
}

async fn fetch(app: &App, file: &ChatFile, row: &ShowFile) -> Result<Fetched, Failure> {
    let Some(robot) = &row.robot else {
        return Err(Outcome::Refused { code: "not_linked".to_owned() }.into());
    };
    let address = app.dingtalk.download_address(robot, &file.code).await.map_err(|error| failure(&error))?;
    app.dingtalk.fetch(&address).await.map_err(|error| failure(&error))
}

fn failure(error: &ApiError) -> Failure {
    if error.is_code_gone() {
        return Failure::Told(FileProblem::Gone, None);
    }
    if error.code == code::FILE_NOT_ALLOWED {
        return Failure::Told(FileProblem::Elsewhere, None);
    }
    Failure::Later(outcome::of_dingtalk(error))
}

/// Uploads in two steps, and writes the file's name between them: whatever happens after that, the file is not
/// uploaded twice under two names. In one step where the homeserver knows no other.
async fn put(
    app: &App,
    row: Row<'_>,
    file: &mut ShowFile,
    user: &UserId,
    upload: Upload,
) -> Result<OwnedMxcUri, Failure> {
    if file.uri.is_none() && two_steps(app) {
        match app.matrix.create_media(user).await {
            Ok(uri) => {
                file.uri = Some(uri);
                keep(app, row, &Rendered::Show(file.clone())).await?;
            }
            Err(error) if error.is_unrecognized() => one_step(app),
            Err(error) => return Err(refused(&error)),
        }
    }
    let Some(uri) = &file.uri else {
        return app.matrix.upload(user, upload).await.map_err(|error| refused(&error));
    };
    match app.matrix.fill_media(user, uri, upload).await {
        Ok(()) => Ok(uri.clone()),
        // Names lapse after a day or so: another one.
        Err(error) if error.class == Class::NotFound => {
            file.uri = None;
            file.key = None;
            Err(Outcome::Failed { code: "media_name_lapsed".to_owned() }.into())
        }
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &MatrixError) -> Failure {
    match error.class {
        Class::TooLarge => Failure::Told(FileProblem::TooLarge { limit: None }, None),
        _ => Failure::Later(outcome::of_matrix(error)),
    }
}

fn show(file: &ShowFile, carried: &Carried) -> String {
    let ChatFile { kind, duration, .. } = &file.file;
    let looked = &carried.looked;
    let is = |family: &str| looked.content_type.starts_with(family);
    // What its bytes say it is not is a file like any other; where they say nothing, DingTalk is believed.
    let kind = match kind {
        FileKind::Picture if looked.ending.is_some() && !is("image/") => FileKind::File,
        FileKind::Video if looked.ending.is_some() && !is("video/") => FileKind::File,
        kind => *kind,
    };
    file_content(&FileContent {
        kind,
        name: &name(&file.file, looked),
        uri: &carried.uri,
        key: carried.key.as_ref(),
        content_type: &looked.content_type,
        size: carried.size,
        dimensions: looked.dimensions,
        duration: *duration,
        reply_to: file.reply_to.as_deref(),
    })
}

/// The file's own name, or one by what it is.
fn name(file: &ChatFile, looked: &Looked) -> String {
    if let Some(name) = &file.name {
        return name.clone();
    }
    let stem = match file.kind {
        FileKind::Picture => "picture",
        FileKind::Voice => "voice",
        FileKind::Audio => "sound",
        FileKind::Video => "video",
        FileKind::File => "file",
    };
    match looked.ending {
        Some(ending) => format!("{stem}.{ending}"),
        None => stem.to_owned(),
    }
}
