"""A hand-made end of a tunnel's connection over HTTP/2: hyper-h2 over TLS over TCP. Streams look as those of peer.py."""
import asyncio
import ssl

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h2.stream
from hyperframe.frame import Frame
from peer import Stream

SERVER_NAME = "h2.cftunnel.com"
UPGRADE, SOURCE = "cf-cloudflared-proxy-connection-upgrade", "cf-cloudflared-proxy-src"
BLOCK, META = "cf-cloudflared-response-headers", "cf-cloudflared-response-meta"
ORIGIN, CONNECTOR = '{"src":"origin"}', '{"src":"cloudflared"}'
WINDOW = 1 << 20


# A response to HEAD, a 304, and answers that lie on purpose: tests look at lengths themselves.
h2.stream.H2Stream._initialize_content_length = lambda self, headers: None


class H2Stream(Stream):
    """One stream: .head and .interim hold field lists, .trailers what came behind the body."""

    def __init__(self, peer, number):
        super().__init__(peer, number)
        self.head, self.interim, self.trailers = None, [], None
        self.out, self.out_ends = b"", False
        self.out_trailers = None

    def fields(self, name):
        return [v for k, v in self.head if k == name]

    def field(self, name):
        """The only value of a field, or None."""
        values = self.fields(name)
        assert len(values) < 2, values
        return values[0] if values else None

    @property
    def status(self):
        return int(self.field(":status"))

    def write(self, data, fin=False, trailers=None):
        self.out += data
        self.out_ends |= fin
        self.out_trailers = trailers
        self.flush()

    def flush(self):
        """As much as the other side's windows take."""
        if self.peer.why is not None or self.reset_code is not None:
            return
        h2 = self.peer.h2
        while self.out:
            size = min(len(self.out), h2.local_flow_control_window(self.id), h2.max_outbound_frame_size)
            if size <= 0:
                break
            part, self.out = self.out[:size], self.out[size:]
            h2.send_data(self.id, part)
        if self.out_ends and not self.out:
            self.out_ends = False
            if self.out_trailers:
                h2.send_headers(self.id, self.out_trailers, end_stream=True)
            else:
                h2.end_stream(self.id)
        self.peer.transmit()

    def respond(self, headers, fin=False):
        self.peer.h2.send_headers(self.id, headers, end_stream=fin)
        self.peer.transmit()

    def reset(self, code=h2.errors.ErrorCodes.CANCEL):
        if self.peer.why is None and self.reset_code is None:
            self.peer.h2.reset_stream(self.id, code)
            self.peer.transmit()

    def stop(self, code=0):
        """HTTP/2 has one reset for both directions."""

    async def heads(self):
        """Waits for the final head. EOFError when there was none."""
        await self.until(lambda: self.head is not None)
        return self


class Ended:
    def __init__(self, code, text):
        self.code, self.text = code, text

    def __repr__(self):
        return f"Ended({self.code}, {self.text})"


class H2Peer(asyncio.Protocol):
    """One connection: as the edge (a client of HTTP/2) or as a connector (a server of it)."""

    def __init__(self, is_client, settings=None, is_mute=False):
        config = h2.config.H2Configuration(client_side=is_client, header_encoding="latin-1", validate_outbound_headers=False,
                                           normalize_outbound_headers=False, validate_inbound_headers=True)
        self.is_client, self.is_mute, self.settings = is_client, is_mute, settings or {}
        self.h2 = h2.connection.H2Connection(config)
        encode = self.h2.encoder.encode  # plain strings: Huffman's code in Python takes seconds for a large head
        self.h2.encoder.encode = lambda headers, huffman=False: encode(headers, huffman)
        self.streams, self.tasks = {}, set()
        self.why = self.rpc = self.control = None
        self.goaway = None
        self.heard = b""  # every byte that came
        self.remote = {}  # the other side's settings
        self.pings = 0
        self.is_reading, self.gives_credit = True, True
        self.news = asyncio.Event()
        self.on_open = self.on_stream = None

    # ---- of asyncio ----

    def connection_made(self, transport):
        self.transport = transport
        if not self.is_mute:
            codes = h2.settings.SettingCodes
            self.h2.local_settings = h2.settings.Settings(client=self.is_client, initial_values={
                codes.INITIAL_WINDOW_SIZE: WINDOW, codes.MAX_FRAME_SIZE: WINDOW, **self.settings})
            self.h2.incoming_buffer.max_frame_size = WINDOW
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window(1 << 24)
            self.transmit()
        if self.on_open is not None:
            self.on_open(self)

    def data_received(self, data):
        self.heard += data
        if self.is_mute or self.why is not None:
            self.news.set()
            return
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as e:
            self.transmit()
            self.end(int(e.error_code), f"the other side's fault: {e!r}")
            self.transport.close()
            return
        for event in events:
            self.take(event)
        self.transmit()
        self.news.set()

    def connection_lost(self, exc):
        self.end(0, repr(exc) if exc else "closed")

    def end(self, code, text):
        self.why = self.why or Ended(code, text)
        for stream in self.streams.values():
            stream.news.set()
        self.news.set()

    # ---- events ----

    def take(self, event):
        number = getattr(event, "stream_id", None)
        stream = self.streams.get(number)
        if isinstance(event, h2.events.RequestReceived):
            stream = self.streams[number] = H2Stream(self, number)
            stream.head = event.headers
            if self.on_stream is not None:
                self.spawn(self.on_stream(stream))
        elif isinstance(event, h2.events.InformationalResponseReceived):
            stream.interim.append(event.headers)
        elif isinstance(event, h2.events.ResponseReceived):
            stream.head = event.headers
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = event.headers
        elif isinstance(event, h2.events.DataReceived):
            stream.data += event.data
            stream.heard += event.data
            if self.gives_credit and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            if stream is not None:
                stream.reset_code = int(event.error_code)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.remote.update({int(k): v.new_value for k, v in event.changed_settings.items()})
            self.flush_all()
        elif isinstance(event, h2.events.WindowUpdated):
            self.flush_all()
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event
        if stream is not None:
            stream.news.set()

    def flush_all(self):
        for stream in list(self.streams.values()):
            if stream.out or stream.out_ends:
                stream.flush()

    # ---- for tests ----

    def transmit(self):
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def raw(self, data):
        """Bytes, or a frame of hyperframe, past the library."""
        self.transport.write(data.serialize() if isinstance(data, Frame) else data)

    def spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def request(self, headers, fin=True):
        stream = H2Stream(self, self.h2.get_next_available_stream_id())
        self.streams[stream.id] = stream
        self.h2.send_headers(stream.id, headers, end_stream=fin)
        self.transmit()
        return stream

    async def until(self, condition):
        while not condition():
            if self.why is not None:
                raise EOFError(f"the connection ended: {self.why}")
            self.news.clear()
            await self.news.wait()

    async def over(self):
        while self.why is None:
            self.news.clear()
            await self.news.wait()
        return self.why

    def hang_up(self):
        self.transport.abort()


def server_context(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


async def dial(address, cafile, **options):
    """A connection to an edge as a connector makes it: no ALPN, and its name alone says what it is."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=str(cafile))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    before = options.pop("before", None)

    def protocol():
        peer = H2Peer(False, **options)
        if before is not None:
            before(peer)
        return peer

    loop = asyncio.get_running_loop()
    _, peer = await loop.create_connection(protocol, host, int(port), ssl=context, server_hostname=SERVER_NAME)
    return peer
