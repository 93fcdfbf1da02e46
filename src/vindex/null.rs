//! `null`: where does everything go that has no better place?

use crate::key::KeyspaceId;

/// The single byte 00, whatever the value, NULL included.
pub(super) fn id() -> KeyspaceId {
    KeyspaceId::new(&[0])
}
