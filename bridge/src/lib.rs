//! A bridge between DingTalk and Matrix: the program.
//!
//! [`cli::main`] reads the command line; `run` starts what `boot` puts together. The way of a message is in
//! `relay`; the doors are in `http`.

mod actions;
mod app;
mod away;
mod boot;
pub mod cli;
mod commands;
mod database;
mod encryption;
mod files;
mod http;
mod media;
mod observe;
mod receiving;
mod registrations;
mod relay;
mod stream;
mod webhook_keys;
