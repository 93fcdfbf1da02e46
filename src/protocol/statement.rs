//! What do PREPARE's answer and EXECUTE's parameters say?
//!
//! Layouts: `page_protocol_com_stmt_prepare.html`, `page_protocol_com_stmt_execute.html`. Three
//! points where clients differ from the text, all measured: with QUERY_ATTRIBUTES agreed the
//! parameter count is there whenever the statement has parameters, even if the flag for it is not
//! set; a parameter that got long data has no bytes, whatever its type and NULL bit; types may be
//! left out when a statement is executed again.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use super::ProtocolError;
use super::capability::Capabilities;
use super::column::ColumnType;
use super::value::{self, Temporal, ValueType};
use super::wire::{Input, put_lenenc_bytes};
use crate::value::Value;

/// COM_STMT_EXECUTE.
pub const COM_STMT_EXECUTE: u8 = 0x17;
/// EXECUTE's flag for a read-only cursor.
pub const CURSOR_READ_ONLY: u8 = 0x01;
/// EXECUTE's flag for "a parameter count follows" (query attributes).
pub const PARAMETER_COUNT_AVAILABLE: u8 = 0x08;

/// The first packet of PREPARE's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareOk {
    /// The statement's id on this connection.
    pub statement_id: u32,
    /// Number of result columns; MySQL says 0 for some statements that do return rows.
    pub columns: u16,
    /// Number of parameters.
    pub params: u16,
    /// Number of warnings.
    pub warnings: u16,
}

/// A parameter's type as EXECUTE sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterType {
    /// The type.
    pub kind: ColumnType,
    /// The integer has no sign.
    pub unsigned: bool,
}

/// What one parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter<'a> {
    /// NULL.
    Null,
    /// The value's bytes without their length.
    Bytes(&'a [u8]),
    /// The bytes that COM_STMT_SEND_LONG_DATA brought.
    LongData(&'a [u8]),
}

/// EXECUTE's payload, taken apart. Borrowed from the client's packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The statement's id.
    pub statement_id: u32,
    /// [`CURSOR_READ_ONLY`] and others.
    pub flags: u8,
    /// The types of all parameters: the sent ones, or those of the execution before.
    pub types: Cow<'a, [ParameterType]>,
    /// The parameters, in order.
    pub parameters: Vec<Parameter<'a>>,
    /// The parameters' bytes as they came, if they can be passed on as they are: no long data.
    values: Option<&'a [u8]>,
}

/// What a statement that waits for EXECUTE remembers.
#[derive(Debug, Clone, Copy)]
pub struct ParameterContext<'a> {
    /// The statement's number of parameters.
    pub params: usize,
    /// The types that the last EXECUTE sent; empty if none did.
    pub types: &'a [ParameterType],
    /// What COM_STMT_SEND_LONG_DATA brought, by parameter; may be shorter than `params`.
    pub long_data: &'a [Option<BytesMut>],
    /// What the connection agreed on.
    pub capabilities: Capabilities,
}

// === impl PrepareOk ===

impl PrepareOk {
    /// Reads the packet.
    pub fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "PREPARE answer");
        if input.u8()? != 0 {
            return Err(input.malformed());
        }
        let (statement_id, columns, params) = (input.u32()?, input.u16()?, input.u16()?);
        input.u8()?;
        // Servers before 5.0 left the warnings out.
        let warnings = if input.is_empty() { 0 } else { input.u16()? };
        Ok(Self { statement_id, columns, params, warnings })
    }

    /// Appends the payload: twelve bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(0);
        out.put_u32_le(self.statement_id);
        out.put_u16_le(self.columns);
        out.put_u16_le(self.params);
        out.put_u8(0);
        out.put_u16_le(self.warnings);
    }
}

// === impl Execute ===

impl<'a> Execute<'a> {
    /// Reads the statement's id only, to find the statement. `payload` is what follows the command
    /// byte.
    pub fn peek_statement_id(payload: &[u8]) -> Result<u32, ProtocolError> {
        Input::new(payload, "EXECUTE").u32()
    }

    /// Reads what follows the command byte.
    pub fn decode(payload: &'a [u8], context: ParameterContext<'a>) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "EXECUTE");
        let statement_id = input.u32()?;
        let flags = input.u8()?;
        input.u32()?; // iterations, always 1
        let attributes = context.capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let announced = attributes && (context.params > 0 || flags & PARAMETER_COUNT_AVAILABLE != 0);
        let count = if announced {
            usize::try_from(input.lenenc_int()?).map_err(|_| input.malformed())?
        } else {
            context.params
        };
        let nothing =
            Self { statement_id, flags, types: Cow::default(), parameters: Vec::new(), values: None };
        if count < context.params || count > usize::from(u16::MAX) {
            return Err(input.malformed());
        }
        if count == 0 {
            return Ok(nothing);
        }
        let nulls = input.take(count.div_ceil(8))?;
        let types = match input.u8()? {
            0 if context.types.len() >= context.params => Cow::Borrowed(&context.types[..context.params]),
            1 => Cow::Owned(take_types(&mut input, count, context.params, attributes)?),
            _ => return Err(input.malformed()),
        };
        let start = input.remaining();
        let mut parameters = Vec::with_capacity(context.params);
        let mut long_data_seen = false;
        for (at, one) in types.iter().enumerate() {
            let is_null = nulls[at / 8] & (1 << (at % 8)) != 0;
            parameters.push(match context.long_data.get(at) {
                Some(Some(data)) => {
                    long_data_seen = true;
                    Parameter::LongData(data)
                }
                _ if is_null || one.kind == ColumnType::NULL => Parameter::Null,
                _ => Parameter::Bytes(value::take_binary(&mut input, one.kind)?),
            });
        }
        // What follows are query attributes; they stay here.
        let values = &start[..start.len() - input.remaining().len()];
        Ok(Self { types, parameters, values: (!long_data_seen).then_some(values), ..nothing })
    }

    /// The parameters as values, for planning.
    pub fn values(&self) -> Result<Vec<Value>, ProtocolError> {
        self.parameters
            .iter()
            .zip(self.types.iter())
            .map(|(parameter, one)| match *parameter {
                Parameter::Null => Ok(Value::Null),
                Parameter::Bytes(bytes) => value::from_binary(one.value_type(), bytes),
                Parameter::LongData(bytes) if one.value_type().binary => {
                    Ok(Value::Binary(Bytes::copy_from_slice(bytes)))
                }
                Parameter::LongData(bytes) => Ok(Value::Text(Bytes::copy_from_slice(bytes))),
            })
            .collect()
    }

    /// The same with the parameters in the order of these numbers, some of them more than once.
    #[must_use]
    pub fn reordered(&self, order: &[u32]) -> Self {
        let places = || order.iter().map(|&at| at as usize);
        let types = places().filter_map(|at| self.types.get(at).copied()).collect();
        let parameters = places().filter_map(|at| self.parameters.get(at).copied()).collect();
        Self { types, parameters, values: None, ..*self }
    }

    /// Appends an EXECUTE packet's payload, command byte included, that sends the same parameters to
    /// another server's statement: types always sent, long data inlined, no query attributes, no
    /// cursor.
    pub fn encode_for(&self, out: &mut BytesMut, statement_id: u32) {
        put_head(out, statement_id);
        if self.types.is_empty() {
            return;
        }
        let bitmap = out.len();
        out.put_bytes(0, self.types.len().div_ceil(8));
        out.put_u8(1);
        for (at, (one, parameter)) in self.types.iter().zip(&self.parameters).enumerate() {
            if *parameter == Parameter::Null {
                out[bitmap + at / 8] |= 1 << (at % 8);
            }
            let kind = match parameter {
                // Long data are strings whatever type was announced.
                Parameter::LongData(_) if !one.is_string() => ColumnType::VAR_STRING,
                _ => one.kind,
            };
            out.put_slice(&[kind.0, if one.unsigned { 0x80 } else { 0 }]);
        }
        if let Some(values) = self.values {
            out.put_slice(values);
            return;
        }
        for (one, parameter) in self.types.iter().zip(&self.parameters) {
            match *parameter {
                Parameter::Null => {}
                Parameter::LongData(bytes) => put_lenenc_bytes(out, bytes),
                Parameter::Bytes(bytes) if one.is_length_encoded() => put_lenenc_bytes(out, bytes),
                Parameter::Bytes(bytes) => {
                    if one.is_temporal() {
                        // At most 12: `take_binary` has checked it.
                        out.put_u8(u8::try_from(bytes.len()).unwrap_or_default());
                    }
                    out.put_slice(bytes);
                }
            }
        }
    }
}

/// Appends an EXECUTE packet's payload, command byte included, with these values as parameters.
pub fn encode_execute(out: &mut BytesMut, statement_id: u32, values: &[Value]) -> Result<(), ProtocolError> {
    put_head(out, statement_id);
    if values.is_empty() {
        return Ok(());
    }
    let bitmap = out.len();
    out.put_bytes(0, values.len().div_ceil(8));
    out.put_u8(1);
    let mut body = BytesMut::new();
    for (at, value) in values.iter().enumerate() {
        let one = ParameterType::of(value);
        if value.is_null() {
            out[bitmap + at / 8] |= 1 << (at % 8);
        } else {
            value::put_binary(&mut body, one.value_type(), value)?;
        }
        out.put_slice(&[one.kind.0, if one.unsigned { 0x80 } else { 0 }]);
    }
    out.put_slice(&body);
    Ok(())
}

fn put_head(out: &mut BytesMut, statement_id: u32) {
    out.put_u8(COM_STMT_EXECUTE);
    out.put_u32_le(statement_id);
    out.put_u8(0);
    out.put_u32_le(1);
}

fn take_types(
    input: &mut Input<'_>,
    count: usize,
    params: usize,
    with_names: bool,
) -> Result<Vec<ParameterType>, ProtocolError> {
    let mut types = Vec::with_capacity(params);
    for at in 0..count {
        let one = ParameterType { kind: ColumnType(input.u8()?), unsigned: input.u8()? & 0x80 != 0 };
        if with_names {
            input.lenenc_bytes()?;
        }
        if at < params {
            types.push(one);
        }
    }
    Ok(types)
}

// === impl ParameterType ===

impl ParameterType {
    /// The type that carries a value without loss.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let (kind, unsigned) = match value {
            Value::Null => (ColumnType::NULL, false),
            Value::Int(_) => (ColumnType::LONGLONG, false),
            Value::UInt(_) => (ColumnType::LONGLONG, true),
            Value::Decimal(_) => (ColumnType::NEWDECIMAL, false),
            Value::Float(_) => (ColumnType::DOUBLE, false),
            Value::Text(_) => (ColumnType::VAR_STRING, false),
            Value::Binary(_) => (ColumnType::BLOB, false),
            Value::Temporal(text) => {
                (Temporal::parse(text).map_or(ColumnType::VAR_STRING, |temporal| temporal.kind()), false)
            }
        };
        Self { kind, unsigned }
    }

    /// As [`value`] reads it. MySQL takes BLOB parameters for binary strings.
    fn value_type(self) -> ValueType {
        let binary = matches!(
            self.kind,
            ColumnType::TINY_BLOB | ColumnType::MEDIUM_BLOB | ColumnType::LONG_BLOB | ColumnType::BLOB
        );
        ValueType { kind: self.kind, unsigned: self.unsigned, binary, decimals: 31 }
    }

    fn is_string(self) -> bool {
        self.is_length_encoded()
            && !matches!(self.kind, ColumnType::DECIMAL | ColumnType::NEWDECIMAL | ColumnType::BIT)
    }

    fn is_temporal(self) -> bool {
        matches!(
            self.kind,
            ColumnType::DATE
                | ColumnType::NEWDATE
                | ColumnType::DATETIME
                | ColumnType::TIMESTAMP
                | ColumnType::TIME
        )
    }

    fn is_length_encoded(self) -> bool {
        value::is_length_encoded(self.kind)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn context(params: usize) -> ParameterContext<'static> {
        ParameterContext { params, types: &[], long_data: &[], capabilities: Capabilities::PROTOCOL_41 }
    }

    fn text(text: &'static str) -> Value {
        Value::Text(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn the_documented_answer() {
        // page_protocol_com_stmt_prepare.html, SELECT CONCAT(?, ?) AS col1.
        let bytes = [0, 1, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0];
        let packet = PrepareOk { statement_id: 1, columns: 1, params: 2, warnings: 0 };
        assert_eq!(PrepareOk::decode(&bytes), Ok(packet));
        let mut out = BytesMut::new();
        packet.encode(&mut out);
        assert_eq!(&out[..], bytes);
    }

    #[test]
    fn the_documented_execute() {
        // page_protocol_com_stmt_execute.html: one parameter, VAR_STRING (0f), "foo".
        let payload = b"\x01\0\0\0\x00\x01\0\0\0\x00\x01\x0f\x00\x03foo";
        let execute = Execute::decode(payload, context(1)).unwrap();
        assert_eq!(execute.statement_id, 1);
        assert_eq!(execute.values(), Ok(vec![text("foo")]));
        let mut out = BytesMut::new();
        execute.encode_for(&mut out, 7);
        assert_eq!(&out[..], b"\x17\x07\0\0\0\x00\x01\0\0\0\x00\x01\x0f\x00\x03foo");
        for length in 0..payload.len() {
            assert!(Execute::decode(&payload[..length], context(1)).is_err(), "{length}");
        }
    }

    #[test]
    fn types_may_be_left_out_the_second_time() {
        let types = [ParameterType { kind: ColumnType::LONG, unsigned: true }];
        let payload = b"\x01\0\0\0\x00\x01\0\0\0\x00\x00\xff\xff\xff\xff";
        assert!(Execute::decode(payload, context(1)).is_err(), "nothing is known yet");
        let known = ParameterContext { types: &types, ..context(1) };
        let execute = Execute::decode(payload, known).unwrap();
        assert_eq!(execute.values(), Ok(vec![Value::UInt(u64::from(u32::MAX))]));
        let mut out = BytesMut::new();
        execute.encode_for(&mut out, 1);
        assert!(out.ends_with(b"\x00\x01\x03\x80\xff\xff\xff\xff"), "sent on with types");
    }

    #[test]
    fn query_attributes_are_counted_and_left_behind() {
        let attributes = ParameterContext {
            capabilities: Capabilities::PROTOCOL_41 | Capabilities::QUERY_ATTRIBUTES,
            ..context(1)
        };
        // One parameter (TINY 5) without name, one attribute "a" = "x"; flag 0x08 set or not.
        for flags in [0, PARAMETER_COUNT_AVAILABLE] {
            let payload = [
                b"\x01\0\0\0".as_slice(),
                &[flags],
                b"\x01\0\0\0\x02\x00\x01\x01\x00\x00\xfd\x00\x01a\x05\x01x",
            ]
            .concat();
            let execute = Execute::decode(&payload, attributes).unwrap();
            assert_eq!(execute.values(), Ok(vec![Value::Int(5)]));
            let mut out = BytesMut::new();
            execute.encode_for(&mut out, 1);
            assert_eq!(&out[..], b"\x17\x01\0\0\0\x00\x01\0\0\0\x00\x01\x01\x00\x05");
        }
        // No parameters and no flag: nothing follows.
        let none = ParameterContext { params: 0, ..attributes };
        assert_eq!(Execute::decode(b"\x01\0\0\0\0\x01\0\0\0", none).unwrap().parameters, []);
        // A count below the statement's is a lie.
        assert!(Execute::decode(b"\x01\0\0\0\x08\x01\0\0\0\x00", attributes).is_err());
    }

    #[test]
    fn long_data_take_the_place_of_bytes() {
        let long_data = [None, Some(BytesMut::from(&b"long"[..]))];
        let known = ParameterContext { long_data: &long_data, ..context(2) };
        // TINY 7, then BLOB with its NULL bit set and no bytes.
        let payload = b"\x01\0\0\0\x00\x01\0\0\0\x02\x01\x01\x00\xfc\x00\x07";
        let execute = Execute::decode(payload, known).unwrap();
        assert_eq!(execute.values(), Ok(vec![Value::Int(7), Value::Binary(Bytes::from_static(b"long"))]));
        let mut out = BytesMut::new();
        execute.encode_for(&mut out, 3);
        assert_eq!(&out[..], b"\x17\x03\0\0\0\x00\x01\0\0\0\x00\x01\x01\x00\xfc\x00\x07\x04long");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::UInt),
            (-1e300..1e300).prop_map(Value::Float),
            "-?[0-9]{1,30}\\.[0-9]{1,9}".prop_map(|text| Value::Decimal(text.into())),
            bytes().prop_map(Value::Text),
            bytes().prop_map(Value::Binary),
            "20[0-9]{2}-0[1-9]-1[0-9] 1[0-9]:[0-5][0-9]:[0-5][0-9]"
                .prop_map(|text| Value::Temporal(text.into())),
        ]
    }

    proptest! {
        #[test]
        fn parameters_come_back(values in prop::collection::vec(any_value(), 0..30)) {
            let mut out = BytesMut::new();
            encode_execute(&mut out, 9, &values).unwrap();
            let execute = Execute::decode(&out[1..], context(values.len())).unwrap();
            prop_assert_eq!(&execute.values().unwrap(), &values);
            let mut again = BytesMut::new();
            execute.encode_for(&mut again, 9);
            prop_assert_eq!(&again, &out);
            let slow = Execute { values: None, ..execute };
            let mut again = BytesMut::new();
            slow.encode_for(&mut again, 9);
            prop_assert_eq!(&again, &out);
        }

        #[test]
        fn garbage_never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..60), params in 0_usize..20, attributes: bool,
        ) {
            let capabilities =
                if attributes { Capabilities::QUERY_ATTRIBUTES } else { Capabilities::PROTOCOL_41 };
            if let Ok(execute) = Execute::decode(&bytes, ParameterContext { capabilities, ..context(params) }) {
                let _ = execute.values();
                execute.encode_for(&mut BytesMut::new(), 1);
            }
            let _ = PrepareOk::decode(&bytes);
        }
    }
}
