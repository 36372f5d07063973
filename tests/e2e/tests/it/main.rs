//! The promises of the bridge, one file per promise.

#![expect(clippy::unwrap_used, reason = "helpers of tests may end a test")]

mod api;
mod avatars;
mod away;
mod commands;
mod crossing;
mod database;
mod direct;
mod direct_chats;
mod encrypted;
mod encrypted_rooms;
mod first_contact;
mod group;
mod language;
mod logout;
mod lost_answer;
mod media;
mod membership;
mod moving;
mod notices;
mod outage;
mod parking;
mod postgresql;
mod readback;
mod recall;
mod restart;
mod rotation;
mod stage;
mod status_report;
mod stream;
mod upgrade;
