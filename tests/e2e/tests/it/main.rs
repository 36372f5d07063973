//! The promises of the bridge, one file per promise.

#![expect(clippy::unwrap_used, reason = "helpers of tests may end a test")]

mod api;
mod away;
mod commands;
mod crossing;
mod database;
mod direct;
mod encrypted;
mod first_contact;
mod language;
mod logout;
mod lost_answer;
mod media;
mod parking;
mod postgresql;
mod readback;
mod restart;
mod rotation;
mod stage;
mod status_report;
mod stream;
