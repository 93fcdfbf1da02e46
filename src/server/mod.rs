//! How do the parts of the gate become one process that starts, serves and stops?

pub mod admin;
mod advice;
mod backend_tls;
pub mod gate;
mod html;
pub mod listener;
pub mod logging;
mod otlp;
mod pages;
pub mod persona;
mod profile;
pub mod resolve;
pub mod settings;
pub mod shutdown;
pub mod signals;
pub mod sockets;
mod users;
