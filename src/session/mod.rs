//! What happens in one client's conversation, from login to the last packet?

mod answer;
mod like;
pub mod plan_cache;
mod prepared;
pub mod registry;
mod state;
pub mod target;
