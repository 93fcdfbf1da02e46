//! How do the planner's helper columns disappear?
//!
//! Hot path: a text row is only cut, a binary row gets a new NULL bitmap.

use super::row::Shape;
use super::stream::{RowBatch, RowStream};
use crate::error::Result;

/// Keeps the first columns of every row.
#[derive(Debug)]
pub struct Truncate<'a> {
    pub(super) input: RowStream<'a>,
    shape: Shape,
    columns: usize,
}

// === impl Truncate ===

impl<'a> Truncate<'a> {
    /// `shape` is the input's.
    pub(crate) fn new(input: RowStream<'a>, shape: Shape, columns: usize) -> Self {
        Self { input, shape, columns }
    }

    pub(super) async fn next_batch(&mut self) -> Result<Option<RowBatch>> {
        let Some(mut batch) = self.input.next_batch().await? else {
            return Ok(None);
        };
        for row in &mut batch {
            *row = self.shape.truncate(row, self.columns)?;
        }
        Ok(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::shape;
    use super::super::row::{RowFormat, kind};
    use super::super::stream::tests::{collect, known};
    use super::*;

    #[tokio::test]
    async fn helper_columns_are_cut() {
        for format in [RowFormat::Text, RowFormat::Binary] {
            let wide = shape(format, &[kind::VAR_STRING, kind::VAR_STRING, kind::VAR_STRING]);
            let input =
                known([wide.row(&[Some(b"a"), None, Some(b"w")]), wide.row(&[None, Some(b"b"), None])]);
            let mut stream = RowStream::Truncate(Box::new(Truncate::new(input, wide.clone(), 2)));
            let narrow = wide.narrowed(2);
            let expected = vec![narrow.row(&[Some(b"a"), None]), narrow.row(&[None, Some(b"b")])];
            assert_eq!(collect(&mut stream).await.unwrap(), expected);
        }
    }
}
