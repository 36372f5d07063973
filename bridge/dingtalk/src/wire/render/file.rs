//! Files that DingTalk holds, as messages (API.md section 5.5).

use serde::Serialize;

use super::RobotMessage;

/// A message that shows a file by its media id (API.md section 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OutgoingFile {
    /// A picture (`sampleImageMsg`).
    Picture {
        /// The media id; DingTalk's field is made for addresses and takes both.
        #[serde(rename = "photoURL")]
        photo: String,
    },
    /// A file (`sampleFile`).
    #[serde(rename_all = "camelCase")]
    File {
        /// The media id.
        media_id: String,
        /// Its name.
        file_name: String,
        /// The ending of its name.
        file_type: String,
    },
    /// A video (`sampleVideo`).
    #[serde(rename_all = "camelCase")]
    Video {
        /// The media id.
        video_media_id: String,
        /// The only type there is: `mp4`.
        video_type: String,
        /// Seconds, as text.
        duration: String,
        /// The media id of a picture; required.
        pic_media_id: String,
        /// Pixels, as text.
        #[serde(skip_serializing_if = "Option::is_none")]
        height: Option<String>,
        /// Pixels, as text.
        #[serde(skip_serializing_if = "Option::is_none")]
        width: Option<String>,
    },
}

impl RobotMessage for OutgoingFile {
    fn msg_key(&self) -> &'static str {
        match self {
            Self::Picture { .. } => "sampleImageMsg",
            Self::File { .. } => "sampleFile",
            Self::Video { .. } => "sampleVideo",
        }
    }

    fn msg_param(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use bridge_core::id::{ChatId, RobotCode};
    use serde_json::Value;

    use super::super::group_request;
    use super::*;

    #[test]
    fn files_look_as_documented() {
        let robot = RobotCode::parse("dingrobot").unwrap();
        let chat = ChatId::parse("cidG==").unwrap();
        let text = |text: &str| text.to_owned();
        let all = [
            ("msgparam-image", OutgoingFile::Picture { photo: text("@lADPDmadeUpMediaId0001") }),
            (
                "msgparam-file",
                OutgoingFile::File {
                    media_id: text("@lAzMadeUpFile0001"),
                    file_name: text("plan.pdf"),
                    file_type: text("pdf"),
                },
            ),
            (
                "msgparam-video",
                OutgoingFile::Video {
                    video_media_id: text("$iQELmadeUpVideo0001"),
                    video_type: text("mp4"),
                    duration: text("12"),
                    pic_media_id: text("$igEmadeUpCover0001"),
                    height: Some(text("720")),
                    width: Some(text("1280")),
                },
            ),
        ];
        for (sample, file) in all {
            let (_, sample) = crate::samples(sample).remove(0);
            let sample: Value = serde_json::from_str(&sample).unwrap();
            let body: Value = serde_json::from_slice(&group_request(&robot, &chat, &file)).unwrap();
            assert_eq!(body["msgKey"], sample["msgKey"]);
            let param = |value: &Value| -> Value { serde_json::from_str(value.as_str().unwrap()).unwrap() };
            assert_eq!(param(&body["msgParam"]), param(&sample["msgParam"]));
        }
    }
}
