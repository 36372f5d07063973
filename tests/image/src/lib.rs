//! Container images without a container engine.
//!
//! [`Image`] is a list of files and writes itself as an archive that every container runtime imports.
//! [`Containerfile`] reads the few instructions that our Containerfiles use, so that these files are the one
//! description of our images, for engines and for us. [`ca_roots`] are the public certificate authorities.

mod archive;
mod containerfile;
mod elf;
mod roots;

pub use crate::{
    archive::{File, Image, Source},
    containerfile::{Containerfile, Mistake},
    elf::is_static,
    roots::{CA_ROOTS, ca_roots},
};
