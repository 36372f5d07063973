//! Bytes of the Matrix side, without I/O.
pub mod device;
pub mod event;
pub mod file;
pub mod html;
mod json;
pub mod render;
pub mod route;
pub mod transaction;
