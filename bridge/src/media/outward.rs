//! Matrix → DingTalk: streams a file from the homeserver into DingTalk's upload, in the best kind that takes it; what
//! DingTalk does not take goes as a link.

use std::sync::PoisonError;

use bridge_core::content::{Block, Document, Inline};
use bridge_core::delivery::attempt::Outcome;
use bridge_core::event::RoomFile;
use bridge_core::reply::{FileProblem, Reply, file_label, file_word, link_until};
use bridge_dingtalk::client::Upload;
use bridge_dingtalk::error::ApiError;
use bridge_dingtalk::wire::render::{Channel, Outgoing, OutgoingFile, session_request};
use bridge_dingtalk::wire::upload::UploadKind;
use bridge_matrix::client::Download;
use bridge_matrix::error::Class;
use bytes::Bytes;
use futures_util::StreamExt;
use ruma::MxcUri;

use super::cipher;
use super::kind::{self, Looked, ending};
use super::stream::{FileStream, Meter, peek, watched};
use super::{BROKEN, Moved, PATIENCE, STALLED, note};
use crate::app::App;
use crate::relay::op::{HandFile, Rendered, bot_says};
use crate::relay::outcome;

/// Stands for videos without a picture of their own: DingTalk wants one.
static COVER: &[u8] = include_bytes!("cover.png");

/// Largest thumbnail that is taken as a video's picture, in bytes.
const MAX_COVER_BYTES: u64 = 2 << 20;

/// Why a file does not go as a file.
enum Failure {
    /// DingTalk does not take it: a link goes in its place.
    Link(FileProblem),
    /// It is not there.
    Gone,
    /// Another attempt may work, or an admin can change it.
    Later(Outcome),
}

impl From<&ApiError> for Failure {
    fn from(error: &ApiError) -> Self {
        if error.code == "40006" || error.code == "45001" {
            return Self::Link(FileProblem::TooLarge { limit: None });
        }
        if error.is_file_refused() {
            return Self::Link(FileProblem::Type);
        }
        Self::Later(outcome::of_dingtalk(error))
    }
}

/// Brings a file to DingTalk and answers with the message that shows it, the link to it, or the words in its place.
pub(super) async fn carry(app: &App, hand: &HandFile) -> Result<Moved, Outcome> {
    if app.linked().is_none() {
        return Err(Outcome::Refused { code: "not_linked".to_owned() });
    }
    let mut size = None;
    let why = match upload(app, hand, &mut size).await {
        Ok(shown) => return Ok(Moved { next: shown, beside: None }),
        Err(Failure::Later(outcome)) => return Err(outcome),
        Err(Failure::Gone) => FileProblem::Gone,
        Err(Failure::Link(why)) => {
            let name = shown_name(&hand.file);
            if let Some(address) = app.links.make(&hand.file.uri, hand.file.key.as_ref(), &name, app.now()) {
                let label = file_label(&name, size.or(hand.file.size));
                let link = Inline::Link(address, vec![Inline::Text(label)]);
                let until = Inline::Text(format!(" {}", link_until(app.links.lifetime())));
                return Ok(Moved { next: words(hand, vec![link, until]), beside: None });
            }
            why
        }
    };
    let name = Some(hand.file.name.clone()).filter(|name| !name.is_empty());
    let note = note(hand.file.kind, name, size.or(hand.file.size), why);
    let mut line = Vec::new();
    for text in Reply::FileMissing(note.clone()).bilingual().split('\n').filter(|text| !text.is_empty()) {
        if !line.is_empty() {
            line.push(Inline::Break);
        }
        line.push(Inline::Text(text.to_owned()));
    }
    let told = Reply::FileNotHanded(note).bilingual();
    let beside = hand.origin.as_ref().map(|origin| bot_says(origin.room.clone(), &told, Some(&origin.event)));
    Ok(Moved { next: words(hand, line), beside })
}

fn shown_name(file: &RoomFile) -> String {
    if file.name.is_empty() { file_word(file.kind).to_owned() } else { file.name.clone() }
}

/// A text in place of the file, on the channel that reaches the chat.
fn words(hand: &HandFile, line: Vec<Inline>) -> Rendered {
    let document = Document { blocks: vec![Block::Paragraph(line)] };
    let api_body = hand.to.api_body(&Outgoing::render(&document, Channel::Robot));
    let session_body = api_body.is_none().then(|| session(&document));
    Rendered::DingTalk(hand.to.post(api_body, session_body, hand.origin.clone()))
}

fn session(document: &Document) -> String {
    let body = session_request(&Outgoing::render(document, Channel::Session), &[], false);
    String::from_utf8(body).unwrap_or_default()
}

/// As what DingTalk takes a file, and the name it wants for that.
struct Form {
    kind: UploadKind,
    name: String,
}

/// The best kind that takes a file: by its bytes a picture or a video, by its name a document.
fn form(file: &RoomFile, looked: &Looked) -> Option<Form> {
    let by_bytes = [UploadKind::Image, UploadKind::Video].into_iter().find_map(|kind| {
        let ending = looked.ending.filter(|ending| kind.takes(ending))?;
        Some((kind, ending))
    });
    if let Some((kind, right)) = by_bytes {
        let name = if kind.takes(ending(&file.name)) {
            file.name.clone()
        } else {
            let stem = file.name.rsplit_once('.').map_or(&*file.name, |(stem, _)| stem);
            format!("{}.{right}", if stem.is_empty() { kind.as_str() } else { stem })
        };
        return Some(Form { kind, name });
    }
    let kind = UploadKind::File;
    kind.takes(ending(&file.name)).then(|| Form { kind, name: file.name.clone() })
}

async fn upload(app: &App, hand: &HandFile, size: &mut Option<u64>) -> Result<Rendered, Failure> {
    let stalled = |_| Failure::Later(Outcome::Failed { code: STALLED.to_owned() });
    let broken = || Failure::Later(Outcome::Failed { code: BROKEN.to_owned() });
    let pause = app.config.media.stall_timeout.get() + PATIENCE;
    let meter = Meter::default();
    let Download { length, body, .. } =
        watched(&meter, pause, download(app, &hand.file.uri)).await.map_err(stalled)??;
    *size = length;
    let body = match &hand.file.key {
        Some(key) => cipher::decrypt(body, key),
        None => body,
    };
    let (head, body) = watched(&meter, pause, peek(body)).await.map_err(stalled)?.map_err(|_| broken())?;
    let looked = kind::look(&head, Some(&hand.file.name));
    let form = form(&hand.file, &looked).ok_or(Failure::Link(FileProblem::Type))?;
    // A person whom only a reply address reaches gets pictures, and links for all else.
    let by_session = hand.to.direct && hand.to.peer.is_none() || hand.to.robot.is_none();
    if by_session && form.kind != UploadKind::Image {
        return Err(Failure::Link(FileProblem::Type));
    }
    let limit = form.kind.max_bytes();
    let too_large = || Failure::Link(FileProblem::TooLarge { limit: Some(limit) });
    if length.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let body = meter.count(body, Some(limit));
    let sent = send(app, form.kind, &form.name, &looked.content_type, length, body);
    let media_id = match watched(&meter, pause, sent).await.map_err(stalled)? {
        Ok(media_id) => media_id,
        Err(_) if meter.is_over() => return Err(too_large()),
        Err(_) if meter.is_broken() => return Err(broken()),
        Err(error) => return Err((&error).into()),
    };
    if by_session {
        let picture = Inline::Image(form.name, Some(media_id));
        let document = Document { blocks: vec![Block::Paragraph(vec![picture])] };
        return Ok(Rendered::DingTalk(hand.to.post(None, Some(session(&document)), hand.origin.clone())));
    }
    let shown = match form.kind {
        UploadKind::Image => OutgoingFile::Picture { photo: media_id },
        UploadKind::Video => {
            let cover = cover(app, &hand.file).await?;
            video(&hand.file, media_id, cover)
        }
        UploadKind::File => {
            let file_type = ending(&form.name).to_ascii_lowercase();
            OutgoingFile::File { media_id, file_name: form.name, file_type }
        }
    };
    Ok(Rendered::DingTalk(hand.to.post(hand.to.api_body(&shown), None, hand.origin.clone())))
}

async fn download(app: &App, uri: &MxcUri) -> Result<Download, Failure> {
    app.matrix.download(uri, PATIENCE).await.map_err(|error| match error.class {
        Class::NotFound | Class::Denied | Class::Permanent => Failure::Gone,
        _ => Failure::Later(outcome::of_matrix(&error)),
    })
}

async fn send(
    app: &App,
    kind: UploadKind,
    name: &str,
    content_type: &str,
    length: Option<u64>,
    body: FileStream,
) -> Result<String, ApiError> {
    let mut random = [0; 16];
    app.entropy.fill(&mut random);
    let boundary = bridge_core::ghost::hex(&random);
    app.dingtalk.upload(Upload { kind, name, content_type, length, body, boundary: &boundary }).await
}

fn video(file: &RoomFile, media_id: String, cover: String) -> OutgoingFile {
    let seconds = file.duration.map_or(1, |span| span.as_millis().div_ceil(1000).max(1));
    OutgoingFile::Video {
        video_media_id: media_id,
        video_type: "mp4".to_owned(),
        duration: seconds.to_string(),
        pic_media_id: cover,
        height: file.dimensions.map(|(_, height)| height.to_string()),
        width: file.dimensions.map(|(width, _)| width.to_string()),
    }
}

/// A picture for a video: its thumbnail, else one for all.
async fn cover(app: &App, file: &RoomFile) -> Result<String, Failure> {
    if let Some(thumbnail) = &file.thumbnail
        && let Some(media_id) = thumbnail_cover(app, thumbnail).await
    {
        return Ok(media_id);
    }
    let owner = app.linked().map(|linked| linked.link.app_key.clone());
    let known = app.media.cover.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((_, media_id)) = known.filter(|(known, _)| Some(known) == owner.as_ref()) {
        return Ok(media_id);
    }
    let body = futures_util::stream::once(async { Ok(Bytes::from_static(COVER)) }).boxed();
    let length = Some(COVER.len() as u64);
    let media_id = send(app, UploadKind::Image, "cover.png", "image/png", length, body).await;
    let media_id = media_id.map_err(|error| Failure::from(&error))?;
    if let Some(owner) = owner {
        *app.media.cover.lock().unwrap_or_else(PoisonError::into_inner) = Some((owner, media_id.clone()));
    }
    Ok(media_id)
}

/// The thumbnail as a picture of DingTalk's; none where anything about it is not as it should be.
async fn thumbnail_cover(app: &App, thumbnail: &MxcUri) -> Option<String> {
    let meter = Meter::default();
    let work = async {
        let Download { length, body, .. } = app.matrix.download(thumbnail, PATIENCE).await.ok()?;
        let (head, body) = peek(meter.count(body, Some(MAX_COVER_BYTES))).await.ok()?;
        let looked = kind::look(&head, None);
        let ending = looked.ending.filter(|ending| UploadKind::Image.takes(ending))?;
        let name = format!("cover.{ending}");
        send(app, UploadKind::Image, &name, &looked.content_type, length, body).await.ok()
    };
    watched(&meter, app.config.media.stall_timeout.get() + PATIENCE, work).await.ok()?
}

#[cfg(test)]
mod tests {
    use bridge_core::event::FileKind;

    use super::*;

    fn formed(name: &str, ending: Option<&'static str>) -> Option<(UploadKind, String)> {
        let file = RoomFile {
            kind: FileKind::File,
            uri: "mxc://a/b".into(),
            name: name.to_owned(),
            content_type: None,
            size: None,
            duration: None,
            dimensions: None,
            key: None,
            thumbnail: None,
            caption: None,
            reply_to: None,
        };
        let looked = Looked { content_type: String::new(), ending, dimensions: None };
        form(&file, &looked).map(|form| (form.kind, form.name))
    }

    #[test]
    fn each_file_goes_in_the_best_kind_that_takes_it() {
        let is = |kind, name: &str| Some((kind, name.to_owned()));
        assert_eq!(formed("a.PNG", Some("png")), is(UploadKind::Image, "a.PNG"));
        assert_eq!(formed("sticker", Some("png")), is(UploadKind::Image, "sticker.png"));
        assert_eq!(formed("a.exe", Some("jpg")), is(UploadKind::Image, "a.jpg"));
        assert_eq!(formed("", Some("gif")), is(UploadKind::Image, "image.gif"));
        assert_eq!(formed("clip.mov", Some("mp4")), is(UploadKind::Video, "clip.mp4"));
        assert_eq!(formed("plan.pdf", Some("pdf")), is(UploadKind::File, "plan.pdf"));
        assert_eq!(formed("plan.docx", None), is(UploadKind::File, "plan.docx"));
        assert_eq!(formed("a.webp", Some("webp")), None);
        assert_eq!(formed("a.exe", Some("exe")), None);
        assert_eq!(formed("song.mp3", Some("mp3")), None);
    }

    #[test]
    fn the_cover_is_a_picture() {
        let looked = kind::look(COVER, None);
        assert_eq!((looked.ending, looked.dimensions), (Some("png"), Some((320, 180))));
    }
}
