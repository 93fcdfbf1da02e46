//! How many bytes of rows per second pass through the response reader and the packet writer?
//!
//! The data path without its sockets: a receive buffer of whole row packets is walked header by
//! header, and copied into the client's output buffer under new sequence numbers.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shardgate::protocol::capability::Capabilities;
use shardgate::protocol::packet::{HEADER_LEN, Header, PacketWriter};
use shardgate::protocol::reader::{Part, ResponseKind, ResponseReader};

/// About what one read of a socket gives.
const BUFFER: usize = 32 << 10;

/// A reader that waits for rows of a result with one column.
fn reader_in_rows() -> ResponseReader {
    let capabilities = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
    let mut reader = ResponseReader::new(ResponseKind::Results, capabilities);
    let definition = b"\x03def\x00\x00\x00\x011\x00\x0c\x3f\x00\x01\x00\x00\x00\x08\x81\x00\x00\x00\x00";
    for payload in [&b"\x01"[..], definition] {
        // A result that this bench wrote itself: an error would show as rows that are not rows.
        let _ = reader.packet(payload);
    }
    reader
}

/// Whole row packets of `payload` bytes each, about [`BUFFER`] together.
fn rows(payload: usize) -> BytesMut {
    let mut writer = PacketWriter::new(0);
    let mut buffer = BytesMut::new();
    let mut row = vec![b'x'; payload];
    row[0] = u8::try_from(payload - 1).unwrap_or(0xFA);
    while buffer.len() + HEADER_LEN + payload <= BUFFER {
        writer.write(&mut buffer, &row);
    }
    buffer
}

fn forward(
    reader: &mut ResponseReader,
    input: &[u8],
    writer: &mut PacketWriter,
    output: &mut BytesMut,
) -> bool {
    let mut at = 0;
    while let Some(header) = Header::parse(&input[at..]) {
        let first = input.get(at + HEADER_LEN).copied();
        if reader.classify(header, first) == Part::Whole {
            break;
        }
        at += HEADER_LEN + header.length;
    }
    output.clear();
    writer.write_run(output, &input[..at]).is_ok()
}

fn forward_a_buffer_of_rows(criterion: &mut Criterion) {
    for payload in [16, 125, 250] {
        let input = rows(payload);
        let (mut reader, mut writer, mut output) = (reader_in_rows(), PacketWriter::new(1), BytesMut::new());
        let mut group = criterion.benchmark_group("forward a buffer of rows");
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(format!("of {payload} bytes each"), |bencher| {
            bencher.iter(|| forward(&mut reader, black_box(&input), &mut writer, &mut output));
        });
        assert_eq!(output.len(), input.len(), "every row is forwarded");
        group.finish();
    }
}

criterion_group!(benches, forward_a_buffer_of_rows);
criterion_main!(benches);
