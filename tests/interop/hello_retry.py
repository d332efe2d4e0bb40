"""aioquic's TLS server, made to answer a ClientHello that has no share for one of its groups with a HelloRetryRequest (RFC 8446
§4.1.4). aioquic refuses such clients; cloudflared is one: it sends a share for X25519MLKEM768 alone and offers P-256 beside it."""
import hashlib

from aioquic import tls
from aioquic.buffer import Buffer
from cryptography.hazmat.primitives import hashes

RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()
GROUP = tls.Group.SECP256R1


def retry_request(session_id, cipher_suite):
    """The message; its key_share names a group and has no key."""
    body = Buffer(capacity=512)
    body.push_uint16(tls.TLS_VERSION_1_2)
    body.push_bytes(RETRY_RANDOM)
    tls.push_opaque(body, 1, session_id)
    body.push_uint16(cipher_suite)
    body.push_uint8(0)
    with tls.push_block(body, 2):
        with tls.push_extension(body, tls.ExtensionType.SUPPORTED_VERSIONS):
            body.push_uint16(tls.TLS_VERSION_1_3)
        with tls.push_extension(body, tls.ExtensionType.KEY_SHARE):
            body.push_uint16(GROUP)
    return bytes([tls.HandshakeType.SERVER_HELLO]) + len(body.data).to_bytes(3, "big") + body.data


class RetryingContext(tls.Context):
    first_hello = None
    retried = None  # what stands for both messages in the transcript

    def _server_handle_hello(self, input_buf, initial_buf, handshake_buf):
        data = input_buf.data_slice(0, input_buf.capacity)
        input_buf.seek(input_buf.capacity)  # all of it is taken
        if self.retried is None:
            hello = self.first_hello = tls.pull_client_hello(Buffer(data=data))
            if not any(group in self._supported_groups for group, _ in hello.key_share or []):
                initial_buf.push_bytes(self._retry(hello, data))
                return
        # The transcript goes on behind what stands for the first hello and the retry: the parser starts at the second hello.
        past = self.retried or b""
        message = Buffer(data=past + data)
        message.seek(len(past))
        super()._server_handle_hello(message, initial_buf, handshake_buf)

    def _retry(self, hello, data):
        suite = tls.negotiate(self._cipher_suites, hello.cipher_suites, tls.AlertHandshakeFailure("No supported cipher suite"))
        digest = hashes.Hash(tls.cipher_suite_hash(suite))
        digest.update(data)
        value = digest.finalize()
        request = retry_request(hello.legacy_session_id, suite)
        self.retried = bytes([254, 0, 0, len(value)]) + value + request  # 254: message_hash
        return request


def allow_retry(quic):
    """To be called on a server's connection before its first packet."""
    initialize = quic._initialize

    def with_retry(peer_cid):
        initialize(peer_cid)
        quic.tls.__class__ = RetryingContext

    quic._initialize = with_retry
