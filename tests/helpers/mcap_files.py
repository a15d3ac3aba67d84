"""Small MCAP files of any kind of message, as other recorders write them: without an index."""

import struct


def _text(value):
    return struct.pack("<I", len(value)) + value.encode()


def _record(kind, content):
    return struct.pack("<BQ", kind, len(content)) + content


def mcap_file(path, topic, kind, encoding, messages=(b"message",)):
    """Write messages of one topic, of type `kind`, and return `path`."""
    profile = {"cdr": "ros2", "ros1": "ros1"}.get(encoding, "")
    schema = struct.pack("<H", 1) + _text(kind) + _text(encoding) + _text("")
    channel = struct.pack("<HH", 1, 1) + _text(topic) + _text(encoding) + _text("")
    records = [
        _record(0x01, _text(profile) + _text("a test")),
        _record(0x03, schema),
        _record(0x04, channel),
        *(_record(0x05, struct.pack("<HIQQ", 1, 0, 1, 1) + message) for message in messages),
        _record(0x0F, struct.pack("<I", 0)),
        _record(0x02, struct.pack("<QQI", 0, 0, 0)),
    ]
    magic = b"\x89MCAP0\r\n"
    path.write_bytes(magic + b"".join(records) + magic)
    return path
