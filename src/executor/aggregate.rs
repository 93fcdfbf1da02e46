//! How do the partial aggregates of several shards make the totals?
//!
//! The input is ordered by the group's columns, so a group is complete when the next one begins:
//! one group is held at a time. Types and definitions are the shards' own.

use bigdecimal::{BigDecimal, Zero as _};
use bytes::Bytes;

use super::compare::{Key, Keys, RowOrder, signed};
use super::number::{self, Sum};
use super::row::{RowFormat, Shape, kind};
use super::stream::{BATCH_ROWS, RowBatch, RowStream};
use crate::error::{Result, SqlError};
use crate::planner::{AggregateColumn, AggregateFunction, KeyColumn, position};

/// Merges the rows of equal groups.
#[derive(Debug)]
pub struct Aggregator<'a> {
    pub(super) input: RowStream<'a>,
    shape: Shape,
    order: RowOrder,
    functions: Vec<Function>,
    group: Option<Group>,
    /// Without GROUP BY there is one row, even over no rows.
    scalar: bool,
}

/// The group in flight.
#[derive(Debug)]
struct Group {
    keys: Keys,
    first: Bytes,
    totals: Vec<Total>,
}

/// One aggregated column, prepared for its type.
#[derive(Debug)]
struct Function {
    column: usize,
    kind: FunctionKind,
}

#[derive(Debug)]
enum FunctionKind {
    Count,
    Sum { double: bool },
    Extreme { order: RowOrder, weight: Option<usize>, largest: bool },
    Average { sum: usize, count: usize, double: bool },
}

/// What one function has seen of one group.
#[derive(Debug)]
enum Total {
    Count(i64),
    Sum(Option<Sum>),
    /// The row that holds the smallest or largest value so far; none while all are NULL.
    Extreme(Option<(Keys, Bytes)>),
    Average(Option<Sum>, i64),
}

/// New values of columns, without length prefix.
type Values = Vec<(usize, Option<Vec<u8>>)>;

// === impl Aggregator ===

impl<'a> Aggregator<'a> {
    /// `input` has rows of `shape`, ordered by `group`.
    ///
    /// # Errors
    /// VT12001 for types that the gate cannot add or compare.
    pub(crate) fn new(
        input: RowStream<'a>,
        shape: Shape,
        group: &[KeyColumn],
        functions: &[AggregateColumn],
    ) -> Result<Self> {
        let order = RowOrder::grouped(&shape, group)?;
        let functions =
            functions.iter().map(|function| Function::new(&shape, function)).collect::<Result<_>>()?;
        Ok(Self { input, shape, order, functions, group: None, scalar: group.is_empty() })
    }

    pub(super) async fn next_batch(&mut self) -> Result<Option<RowBatch>> {
        let mut out = RowBatch::new();
        while out.len() < BATCH_ROWS {
            let Some(batch) = self.input.next_batch().await? else {
                self.finish(&mut out)?;
                break;
            };
            for row in batch {
                self.add(&row, &mut out)?;
            }
            if !out.is_empty() {
                break;
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    fn add(&mut self, row: &Bytes, out: &mut RowBatch) -> Result<()> {
        let keys = self.order.keys(row)?;
        let same = self.group.as_ref().is_some_and(|group| self.order.compare(&group.keys, &keys).is_eq());
        if !same {
            if let Some(done) = self.group.take() {
                out.push(self.row(&done)?);
            }
            let totals = self.functions.iter().map(Function::start).collect();
            self.group = Some(Group { keys, first: row.clone(), totals });
        }
        if let Some(group) = &mut self.group {
            for (function, total) in self.functions.iter_mut().zip(&mut group.totals) {
                function.add(&self.shape, total, row)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut RowBatch) -> Result<()> {
        if let Some(done) = self.group.take() {
            out.push(self.row(&done)?);
        } else if self.scalar {
            let nulls = vec![None; self.shape.columns.len()];
            let totals = self.functions.iter().map(Function::start).collect();
            out.push(self.row(&Group { keys: Keys::new(), first: self.shape.row(&nulls), totals })?);
        }
        self.scalar = false;
        Ok(())
    }

    fn row(&self, group: &Group) -> Result<Bytes> {
        let mut values = Values::new();
        for (function, total) in self.functions.iter().zip(&group.totals) {
            function.finish(&self.shape, total, &mut values)?;
        }
        values.sort_by_key(|(column, _)| *column);
        values.dedup_by_key(|(column, _)| *column);
        self.shape.replace(&group.first, &values)
    }
}

// === impl Function ===

impl Function {
    fn new(shape: &Shape, planned: &AggregateColumn) -> Result<Self> {
        let width = shape.columns.len();
        let place = |planned: usize| {
            let found = position(planned, width).filter(|&place| place < width);
            found.ok_or_else(|| SqlError::bug("an aggregate past the last column"))
        };
        let column = place(planned.column)?;
        let double = |index: usize| match shape.columns[index].kind {
            kind::FLOAT | kind::DOUBLE => Ok(true),
            kind::DECIMAL | kind::NEWDECIMAL | kind::LONGLONG => Ok(false),
            kind => Err(SqlError::unsupported(&format!("adding sums of type {kind:#04x} over shards"))),
        };
        let extreme = |weight: Option<usize>, largest| {
            let order = RowOrder::extreme(shape, &KeyColumn { column, weight })?;
            let weight = weight.map(place).transpose()?;
            Ok::<_, SqlError>(FunctionKind::Extreme { order, weight, largest })
        };
        let kind = match &planned.function {
            AggregateFunction::Count if shape.columns[column].kind == kind::LONGLONG => FunctionKind::Count,
            AggregateFunction::Count => {
                return Err(SqlError::unsupported("adding counts that are not BIGINT"));
            }
            AggregateFunction::Sum => FunctionKind::Sum { double: double(column)? },
            AggregateFunction::Min { weight } => extreme(*weight, false)?,
            AggregateFunction::Max { weight } => extreme(*weight, true)?,
            AggregateFunction::Avg { sum, count } => {
                let (sum, count) = (place(*sum)?, place(*count)?);
                if double(sum)? != double(column)? {
                    return Err(SqlError::unsupported("AVG and SUM of different types over shards"));
                }
                FunctionKind::Average { sum, count, double: double(sum)? }
            }
        };
        Ok(Self { column, kind })
    }

    fn start(&self) -> Total {
        match self.kind {
            FunctionKind::Count => Total::Count(0),
            FunctionKind::Sum { .. } => Total::Sum(None),
            FunctionKind::Extreme { .. } => Total::Extreme(None),
            FunctionKind::Average { .. } => Total::Average(None, 0),
        }
    }

    fn add(&mut self, shape: &Shape, total: &mut Total, row: &Bytes) -> Result<()> {
        match (&mut self.kind, total) {
            (FunctionKind::Count, Total::Count(total)) => add_count(shape, row, self.column, total),
            (FunctionKind::Sum { double }, Total::Sum(total)) => {
                add_sum(shape, row, self.column, *double, total)
            }
            (FunctionKind::Average { sum, count, double }, Total::Average(total, rows)) => {
                add_sum(shape, row, *sum, *double, total)?;
                add_count(shape, row, *count, rows)
            }
            (FunctionKind::Extreme { order, largest, .. }, Total::Extreme(best)) => {
                let keys = order.keys(row)?;
                if matches!(keys.first(), None | Some(Key::Null)) {
                    return Ok(());
                }
                let better = best.as_ref().is_none_or(|(known, _)| {
                    let compared = order.compare(&keys, known);
                    if *largest { compared.is_gt() } else { compared.is_lt() }
                });
                if better {
                    *best = Some((keys, row.clone()));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The total as the column's new value.
    fn finish(&self, shape: &Shape, total: &Total, values: &mut Values) -> Result<()> {
        let definition =
            shape.columns.get(self.column).ok_or_else(|| SqlError::bug("an aggregate past the end"))?;
        let scale = definition.decimals;
        match total {
            Total::Count(count) => values.push((self.column, Some(integer(shape.format, *count)))),
            Total::Sum(None) | Total::Average(None, _) | Total::Average(Some(_), 0) => {
                values.push((self.column, None));
            }
            Total::Sum(Some(sum)) => values.push((self.column, Some(sum_bytes(shape.format, sum, scale)))),
            Total::Average(Some(Sum::Double(sum)), count) => {
                #[allow(clippy::cast_precision_loss, reason = "MySQL divides by the count as a double too")]
                let average = Sum::Double(*sum / *count as f64);
                values.push((self.column, Some(sum_bytes(shape.format, &average, scale))));
            }
            Total::Average(Some(Sum::Exact(sum)), count) => {
                values.push((self.column, Some(number::average(sum, *count, scale).into_bytes())));
            }
            Total::Extreme(best) => {
                let mut keep = |column: usize| -> Result<()> {
                    let value = match best {
                        Some((_, row)) => shape.field(row, column)?.map(<[u8]>::to_vec),
                        None => None,
                    };
                    values.push((column, value));
                    Ok(())
                };
                keep(self.column)?;
                if let FunctionKind::Extreme { weight: Some(weight), .. } = self.kind {
                    keep(weight)?;
                }
            }
        }
        Ok(())
    }
}

fn add_count(shape: &Shape, row: &Bytes, column: usize, total: &mut i64) -> Result<()> {
    let Some(bytes) = shape.field(row, column)? else {
        return Ok(());
    };
    let count = match shape.format {
        RowFormat::Binary => signed(bytes)?,
        RowFormat::Text => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| SqlError::bug("a shard sent a count that is not a number"))?,
    };
    *total = total.checked_add(count).ok_or_else(|| SqlError::bug("COUNT is out of range"))?;
    Ok(())
}

fn add_sum(shape: &Shape, row: &Bytes, column: usize, double: bool, total: &mut Option<Sum>) -> Result<()> {
    let Some(bytes) = shape.field(row, column)? else {
        return Ok(());
    };
    let zero = || if double { Sum::Double(0.0) } else { Sum::Exact(BigDecimal::zero()) };
    let sum = total.get_or_insert_with(zero);
    let fixed = shape.columns.get(column).map(|column| column.kind);
    match (shape.format, fixed, sum) {
        (RowFormat::Binary, Some(kind::DOUBLE), Sum::Double(sum)) => {
            *sum += f64::from_le_bytes(eight(bytes)?);
        }
        (RowFormat::Binary, Some(kind::FLOAT), Sum::Double(sum)) => {
            let bytes = bytes.try_into().map_err(|_| SqlError::bug("a FLOAT of the wrong length"))?;
            *sum += f64::from(f32::from_le_bytes(bytes));
        }
        (RowFormat::Binary, Some(kind::LONGLONG), Sum::Exact(sum)) => {
            *sum += BigDecimal::from(signed(bytes)?);
        }
        (_, _, sum) => sum.add_text(bytes)?,
    }
    Ok(())
}

fn eight(bytes: &[u8]) -> Result<[u8; 8]> {
    bytes.try_into().map_err(|_| SqlError::bug("a number of the wrong length"))
}

fn integer(format: RowFormat, number: i64) -> Vec<u8> {
    match format {
        RowFormat::Text => number.to_string().into_bytes(),
        RowFormat::Binary => number.to_le_bytes().to_vec(),
    }
}

fn sum_bytes(format: RowFormat, sum: &Sum, scale: u8) -> Vec<u8> {
    match (format, sum) {
        // In the binary protocol DOUBLE travels as its eight bytes, DECIMAL as text.
        (RowFormat::Binary, Sum::Double(number)) => number.to_le_bytes().to_vec(),
        _ => sum.text(scale).into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::row::{BINARY_CHARSET, ColumnType};
    use super::super::stream::tests::{collect, known};
    use super::*;

    fn typed(format: RowFormat, columns: &[(u8, u8)]) -> Shape {
        let column =
            |&(kind, decimals): &(u8, u8)| ColumnType { kind, flags: 0, decimals, charset: BINARY_CHARSET };
        Shape { format, columns: columns.iter().map(column).collect() }
    }

    fn function(column: usize, function: AggregateFunction) -> AggregateColumn {
        AggregateColumn { column, function }
    }

    fn run(shape: &Shape, rows: Vec<Bytes>, group: &[usize], functions: &[AggregateColumn]) -> Vec<Bytes> {
        let group: Vec<_> = group.iter().map(|&column| KeyColumn { column, weight: None }).collect();
        let aggregate = Aggregator::new(known(rows), shape.clone(), &group, functions).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(collect(&mut RowStream::Aggregate(Box::new(aggregate)))).unwrap()
    }

    #[test]
    fn partial_results_of_two_shards() {
        // count(*), sum(decimal(10,2)), min(int), max(int), avg(int) with its sum and count.
        let columns = [
            (kind::LONGLONG, 0),
            (kind::NEWDECIMAL, 2),
            (kind::LONG, 0),
            (kind::LONG, 0),
            (kind::NEWDECIMAL, 4),
            (kind::NEWDECIMAL, 0),
            (kind::LONGLONG, 0),
        ];
        let shape = typed(RowFormat::Text, &columns);
        let row = |values: [Option<&str>; 7]| shape.row(&values.map(|value| value.map(str::as_bytes)));
        let rows = vec![
            row([Some("2"), Some("1.50"), Some("9"), Some("10"), Some("1.5000"), Some("3"), Some("2")]),
            row([Some("0"), None, None, None, None, None, Some("0")]),
            row([Some("1"), Some("0.05"), Some("10"), Some("2"), Some("1.0000"), Some("1"), Some("1")]),
        ];
        let functions = [
            function(0, AggregateFunction::Count),
            function(1, AggregateFunction::Sum),
            function(2, AggregateFunction::Min { weight: None }),
            function(3, AggregateFunction::Max { weight: None }),
            function(4, AggregateFunction::Avg { sum: 5, count: 6 }),
        ];
        let found = run(&shape, rows, &[], &functions);
        let expected =
            row([Some("3"), Some("1.55"), Some("9"), Some("10"), Some("1.3333"), Some("3"), Some("2")]);
        assert_eq!(found, [expected]);
    }

    #[test]
    fn no_rows_give_one_row_without_group_by_and_none_with() {
        let shape = typed(RowFormat::Text, &[(kind::LONGLONG, 0), (kind::NEWDECIMAL, 0)]);
        let functions = [function(0, AggregateFunction::Count), function(1, AggregateFunction::Sum)];
        assert_eq!(run(&shape, vec![], &[], &functions), [shape.row(&[Some(b"0"), None])]);
        assert_eq!(run(&shape, vec![], &[0], &functions[1..]), Vec::<Bytes>::new());
    }

    #[test]
    fn binary_rows_keep_their_layout() {
        let shape =
            typed(RowFormat::Binary, &[(kind::LONGLONG, 0), (kind::DOUBLE, 31), (kind::NEWDECIMAL, 1)]);
        let row = |count: i64, sum: f64, exact: &str| {
            shape.row(&[Some(&count.to_le_bytes()), Some(&sum.to_le_bytes()), Some(exact.as_bytes())])
        };
        let functions = [
            function(0, AggregateFunction::Count),
            function(1, AggregateFunction::Sum),
            function(2, AggregateFunction::Sum),
        ];
        let rows = vec![row(2, 0.5, "1.5"), row(3, 0.25, "-2.0")];
        assert_eq!(run(&shape, rows, &[], &functions), [row(5, 0.75, "-0.5")]);
    }

    #[test]
    fn other_types_are_refused() {
        let shape = typed(RowFormat::Text, &[(kind::VAR_STRING, 0)]);
        let functions = [function(0, AggregateFunction::Sum)];
        let error = Aggregator::new(known([]), shape, &[], &functions).unwrap_err();
        assert_eq!(error.id(), Some("VT12001"));
    }

    proptest! {
        #[test]
        fn groups_equal_the_naive_answer(mut rows in prop::collection::vec((-5_i32..5, 0_i64..100, prop::option::of(-50_i64..50)), 0..600)) {
            rows.sort_by_key(|row| row.0);
            let columns = [(kind::LONG, 0), (kind::LONGLONG, 0), (kind::NEWDECIMAL, 0), (kind::LONGLONG, 0)];
            let shape = typed(RowFormat::Text, &columns);
            let text = |group: i32, count: i64, sum: Option<i64>, least: Option<i64>| {
                let values = [Some(group.to_string()), Some(count.to_string()), sum.map(|n| n.to_string()), least.map(|n| n.to_string())];
                shape.row(&values.each_ref().map(|value| value.as_deref().map(str::as_bytes)))
            };
            let input = rows.iter().map(|&(group, count, number)| text(group, count, number, number)).collect();
            let functions = [
                function(1, AggregateFunction::Count),
                function(2, AggregateFunction::Sum),
                function(3, AggregateFunction::Min { weight: None }),
            ];
            let found = run(&shape, input, &[0], &functions);
            let mut naive = std::collections::BTreeMap::<i32, (i64, Option<i64>, Option<i64>)>::new();
            for &(group, count, number) in &rows {
                let total = naive.entry(group).or_default();
                total.0 += count;
                if let Some(number) = number {
                    total.1 = Some(total.1.unwrap_or(0) + number);
                    total.2 = Some(total.2.map_or(number, |least| if number < least { number } else { least }));
                }
            }
            let expected: Vec<_> = naive.into_iter().map(|(group, (count, sum, least))| text(group, count, sum, least)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
