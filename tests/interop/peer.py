"""A hand-made end of a tunnel's connection: aioquic for QUIC, pycapnp for RPC, on an event loop in a thread of its own."""
import asyncio
import collections
import contextlib
import socket
import threading

import capnp
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

ALPN = "argotunnel"
SERVER_NAME = "quic.cftunnel.com"


class Loop:
    """Runs coroutines for plain test functions."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.thread = threading.Thread(target=self._main, daemon=True)
        self.thread.start()
        assert self.started.wait(30)

    def _main(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())

    async def _serve(self):
        self.over = asyncio.Event()
        async with capnp.kj_loop():
            self.started.set()
            await self.over.wait()
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    def run(self, coroutine, seconds=30):
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, seconds), self.loop).result()

    def stop(self):
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(30)


class Stream:
    """One QUIC stream. What happened to it stays visible: ended, reset_code, stop_code."""

    def __init__(self, peer, number):
        self.peer, self.id = peer, number
        self.data = b""  # what came and was not taken
        self.heard = b""  # all that came
        self.ended, self.reset_code, self.stop_code = False, None, None
        self.was_open = False  # a test's note
        self.news = asyncio.Event()

    async def until(self, condition):
        """Waits until condition() is true; EOFError when the stream ended without it."""
        while not condition():
            if self.ended or self.reset_code is not None or self.peer.why is not None:
                raise EOFError(f"stream {self.id}: ended {self.ended}, reset {self.reset_code}, connection {self.peer.why}")
            self.news.clear()
            await self.news.wait()

    async def read(self, size):
        await self.until(lambda: len(self.data) >= size)
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    async def some(self):
        """What is there, at least a byte; b"" at the end."""
        with contextlib.suppress(EOFError):
            await self.until(lambda: self.data)
        taken, self.data = self.data, b""
        return taken

    async def rest(self):
        """Everything up to the end of the stream. EOFError when it was reset."""
        await self.until(lambda: self.ended)
        return self.data

    async def over(self):
        """Waits for an end of any kind."""
        with contextlib.suppress(EOFError):
            await self.until(lambda: False)

    def write(self, data, fin=False):
        self.peer._quic.send_stream_data(self.id, data, end_stream=fin)
        self.peer.transmit()

    async def write_bytewise(self, data, fin=False):
        """Each byte in a datagram of its own."""
        for at in range(len(data)):
            self.write(data[at:at + 1])
            await asyncio.sleep(0)
        if fin:
            self.write(b"", True)

    def reset(self, code=0):
        self.peer._quic.reset_stream(self.id, code)
        self.peer.transmit()

    def stop(self, code=0):
        self.peer._quic.stop_stream(self.id, code)
        self.peer.transmit()


class Peer(QuicConnectionProtocol):
    """One QUIC connection, of either side."""

    def __init__(self, quic, stream_handler=None):
        super().__init__(quic)
        self.streams = {}
        self.arrived = collections.deque()  # streams that the other side opened
        self.why = None  # the event that ended the connection
        self.on_stream = None  # called with each of them instead
        self.rpc = self.control = None  # of pycapnp
        self.news = asyncio.Event()
        self.tasks = set()

    def stream(self, number):
        if number not in self.streams:
            self.streams[number] = Stream(self, number)
            opened_by_client = number % 2 == 0
            if opened_by_client != self._quic._is_client:
                self._arrive(self.streams[number])
        return self.streams[number]

    def _arrive(self, stream):
        if self.on_stream is not None:
            self.spawn(self.on_stream(stream))
        else:
            self.arrived.append(stream)

    def spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def open(self):
        return self.stream(self._quic.get_next_available_stream_id())

    def datagram_received(self, data, addr):
        try:
            super().datagram_received(data, addr)
        except Exception as e:  # a certificate that aioquic's helpers cannot even read
            waiter, self._connected_waiter = self._connected_waiter, None
            if waiter is None:
                raise
            waiter.set_exception(ConnectionError(str(e)))

    def quic_event_received(self, event):
        stream = None
        if isinstance(event, events.StreamDataReceived):
            stream = self.stream(event.stream_id)
            stream.data += event.data
            stream.heard += event.data
            stream.ended |= event.end_stream
        elif isinstance(event, events.StreamReset):
            stream = self.stream(event.stream_id)
            stream.reset_code = event.error_code
        elif isinstance(event, events.StopSendingReceived):
            stream = self.stream(event.stream_id)
            stream.stop_code = event.error_code
        elif isinstance(event, events.ConnectionTerminated):
            self.why = event
            for each in self.streams.values():
                each.news.set()
        if stream is not None:
            stream.news.set()
        self.news.set()

    async def ended(self):
        """The event that ended the connection."""
        await self.wait_closed()
        return self.why


async def dial(address, cafile, alpn=(ALPN,), server_name=SERVER_NAME):
    """A connection to an edge, past its handshake. ConnectionError when there was none; .peer is in it then."""
    host, _, port = address.rpartition(":")
    configuration = QuicConfiguration(is_client=True, alpn_protocols=list(alpn), server_name=server_name, cafile=str(cafile),
                                      idle_timeout=20, max_datagram_frame_size=16383)
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_datagram_endpoint(lambda: Peer(QuicConnection(configuration=configuration)),
                                                  local_addr=("127.0.0.1", 0))
    peer.connect((host, int(port)))
    try:
        await peer.wait_connected()
    except ConnectionError as e:
        peer._transport.close()
        e.peer = peer
        raise
    return peer


async def move(peer):
    """The same connection from another port, as after a router forgot its mapping."""
    before = peer._transport
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: peer, local_addr=("127.0.0.1", 0))
    before.close()
    assert before.get_extra_info("sockname") != peer._transport.get_extra_info("sockname")


async def hang_up(peer):
    peer.close()
    await peer.wait_closed()
    peer._transport.close()


async def pipe_for_rpc(stream):
    """A pycapnp stream whose bytes travel on a QUIC stream."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()

    async def up():
        while data := await loop.sock_recv(ours, 65536):
            stream.write(data)
        stream.write(b"", True)

    async def down():
        while data := await stream.some():
            await loop.sock_sendall(ours, data)
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_WR)

    stream.peer.spawn(up())
    stream.peer.spawn(down())
    return await capnp.AsyncIoStream.create_connection(sock=theirs)
