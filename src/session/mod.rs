//! What happens in one client's conversation, from login to the last packet?

pub mod plan_cache;
pub mod registry;
pub mod target;
