"""Heads of data streams and RPC messages, by pycapnp and the schema beside this file."""
import pathlib
import struct

import capnp

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = pathlib.Path(capnp.__file__).resolve().parent

capnp.remove_import_hook()
SCHEMA = capnp.load(str(HERE / "tunnelrpc.capnp"))
# Cap'n Proto's own description of its RPC messages.
RPC = capnp.load(str(PACKAGE / "rpc.capnp"), imports=[str(PACKAGE.parent)])

DATA_SIGNATURE = bytes.fromhex("0a36cd12a13e")
RPC_SIGNATURE = bytes.fromhex("52bb825cdb65")
PREAMBLE = DATA_SIGNATURE + b"01"


def frame_size(data):
    """Bytes of the framed message at the front, or None while that cannot be told."""
    if len(data) < 4:
        return None
    count = struct.unpack_from("<I", data)[0] + 1
    table = (4 + 4 * count + 7) // 8 * 8
    if len(data) < table:
        return None
    return table + 8 * sum(struct.unpack_from(f"<{count}I", data, 4))


def take_frame(data):
    """(message, rest); message is None while it is not whole."""
    size = frame_size(data)
    if size is None or len(data) < size:
        return None, data
    return data[:size], data[size:]


def frames(data):
    """All messages of data; they must fill it."""
    found = []
    while data:
        one, data = take_frame(data)
        assert one is not None, "the last message is not whole"
        found.append(one)
    return found


def decode(kind, data):
    """A message of one struct; data is the frame."""
    with kind.from_bytes(data) as message:
        return message.to_dict(verbose=False)


def metadata(pairs):
    return [{"key": key, "val": value} for key, value in pairs]


def request_head(dest, kind="http", pairs=()):
    message = SCHEMA.ConnectRequest.new_message(dest=dest, type=kind, metadata=metadata(pairs))
    return PREAMBLE + message.to_bytes()


def http_request(method, host, target, headers=()):
    pairs = [("HttpMethod", method), ("HttpHost", host)] + [("HttpHeader:" + k, v) for k, v in headers]
    return request_head(f"http://{host}{target}", "http", pairs)


def response_head(status, headers=(), more=()):
    pairs = [("HttpStatus", str(status))] + [("HttpHeader:" + k, v) for k, v in headers] + list(more)
    return PREAMBLE + SCHEMA.ConnectResponse.new_message(metadata=metadata(pairs)).to_bytes()


def error_head(text, more=()):
    return PREAMBLE + SCHEMA.ConnectResponse.new_message(error=text, metadata=metadata(more)).to_bytes()


def pairs_of(head):
    return [(item.get("key", ""), item.get("val", "")) for item in head.get("metadata", [])]


def header_of(head, name):
    """The first value of a header line among a head's metadata."""
    wanted = f"httpheader:{name}".lower()
    return next((value for key, value in pairs_of(head) if key.lower() == wanted), None)
