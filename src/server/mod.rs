//! How do the parts of the gate become one process that starts, serves and stops?

pub mod admin;
pub mod listener;
pub mod logging;
pub mod shutdown;
pub mod signals;
