//! What can be asked of the API. The router of the bridge is checked against this table.

use schemars::{Schema, SchemaGenerator};

use super::{Bridge, BridgeRequest, Chats, Failures, Link, LinkRequest, Retried, Status};

/// Makes the schema of a type in a document.
type Maker = fn(&mut SchemaGenerator) -> Schema;

/// One operation.
pub struct Operation {
    /// Its `operationId`.
    pub id: &'static str,
    /// The method, in lower case.
    pub method: &'static str,
    /// The path below [`super::BASE`], with its parameters in braces.
    pub path: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What is to be known about it.
    pub description: &'static str,
    /// The body it takes.
    pub(super) request: Option<Maker>,
    /// The body of its answer; none answers 204.
    pub(super) answer: Option<Maker>,
    /// Parameters of path and query: name, place, description, schema type.
    pub(super) parameters: &'static [(&'static str, &'static str, &'static str, &'static str)],
    /// The codes that it refuses with beside those of every operation, with their status.
    pub refusals: &'static [(u16, &'static [&'static str])],
}

const CHAT: (&str, &str, &str, &str) =
    ("chatId", "path", "DingTalk's id of the chat, percent-encoded: it may hold `/`, `+` and `=`", "string");

/// All operations.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        id: "getStatus",
        method: "get",
        path: "/status",
        summary: "How the bridge stands",
        description: "What the command `status` tells.",
        request: None,
        answer: Some(SchemaGenerator::subschema_for::<Status>),
        parameters: &[],
        refusals: &[],
    },
    Operation {
        id: "putLink",
        method: "put",
        path: "/link",
        summary: "Link a DingTalk app",
        description: "Checks the credentials with DingTalk and links their app in place of the one before, as the command `login` does. Repeating it changes nothing.",
        request: Some(SchemaGenerator::subschema_for::<LinkRequest>),
        answer: Some(SchemaGenerator::subschema_for::<Link>),
        parameters: &[],
        refusals: &[
            (409, &["credentials_from_file"]),
            (
                422,
                &[
                    "invalid_pair",
                    "foreign_agent",
                    "missing_scope",
                    "address_not_allowed",
                    "dingtalk_refused",
                ],
            ),
            (503, &["dingtalk_throttled", "dingtalk_unreachable"]),
        ],
    },
    Operation {
        id: "deleteLink",
        method: "delete",
        path: "/link",
        summary: "Unlink the DingTalk app",
        description: "Deletes its credentials; later pushes for it are refused. Bridged chats stay listed and go on after the next link. Repeating it changes nothing.",
        request: None,
        answer: None,
        parameters: &[],
        refusals: &[(409, &["credentials_from_file"])],
    },
    Operation {
        id: "getChats",
        method: "get",
        path: "/chats",
        summary: "The chats that the bot has seen",
        description: "What the command `groups` tells.",
        request: None,
        answer: Some(SchemaGenerator::subschema_for::<Chats>),
        parameters: &[],
        refusals: &[],
    },
    Operation {
        id: "putBridge",
        method: "put",
        path: "/chats/{chatId}/bridge",
        summary: "Bridge a chat to a room",
        description: "As the command `bridge`, but the caller need not be in the room. Repeating it with the same room changes nothing.",
        request: Some(SchemaGenerator::subschema_for::<BridgeRequest>),
        answer: Some(SchemaGenerator::subschema_for::<Bridge>),
        parameters: &[CHAT],
        refusals: &[
            (404, &["unknown_chat"]),
            (409, &["not_linked", "room_taken", "chat_taken", "chat_disbanded"]),
            (422, &["not_in_room", "no_power", "encrypted_room"]),
        ],
    },
    Operation {
        id: "deleteBridge",
        method: "delete",
        path: "/chats/{chatId}/bridge",
        summary: "Take a chat's bridge down",
        description: "As the command `unbridge`. Repeating it changes nothing.",
        request: None,
        answer: None,
        parameters: &[CHAT],
        refusals: &[],
    },
    Operation {
        id: "getFailures",
        method: "get",
        path: "/failures",
        summary: "Messages that were given up",
        description: "The newest first, without their text.",
        request: None,
        answer: Some(SchemaGenerator::subschema_for::<Failures>),
        parameters: &[("limit", "query", "How many at most, 1 to 1000; 100 without it", "integer")],
        refusals: &[],
    },
    Operation {
        id: "retryAll",
        method: "post",
        path: "/failures/retry",
        summary: "Send all failed messages again",
        description: "As the command `retry`. A message that may have arrived is sent again as well. Repeating it sends what has failed again since.",
        request: None,
        answer: Some(SchemaGenerator::subschema_for::<Retried>),
        parameters: &[],
        refusals: &[],
    },
    Operation {
        id: "retryOne",
        method: "post",
        path: "/failures/{number}/retry",
        summary: "Send one failed message again",
        description: "As the command `retry <number>`. Repeating it while the message is on its way answers 404: it is sent once.",
        request: None,
        answer: Some(SchemaGenerator::subschema_for::<Retried>),
        parameters: &[("number", "path", "The message's number in the list of failures", "integer")],
        refusals: &[(404, &["unknown_failure"])],
    },
];
