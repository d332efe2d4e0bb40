"""A connector by aioquic and pycapnp: it registers a tunnel at an edge and answers data streams as a test tells it to."""
import base64
import os
import uuid

import capnp
import wire
from peer import Loop, dial, hang_up, pipe_for_rpc


class Request:
    """What the edge wrote at the start of a data stream."""

    def __init__(self, preamble, frame):
        self.preamble, self.frame = preamble, frame
        self.head = wire.decode(wire.SCHEMA.ConnectRequest, frame)
        self.fields = dict(wire.pairs_of(self.head))
        rest = self.head["dest"].split("://", 1)[-1]
        self.target = rest[rest.index("/"):] if "/" in rest else "/"

    def header(self, name):
        return wire.header_of(self.head, name)


async def read_request(stream):
    preamble = await stream.read(8)
    await stream.until(lambda: wire.take_frame(stream.data)[0])
    frame, stream.data = wire.take_frame(stream.data)
    return Request(preamble, frame)


class Connector:
    """answers: {path: coroutine function of (stream, request)}. Anything else gets 404. It is a tunnel for client.get."""

    def __init__(self, edge, tunnel, answers):
        self.edge, self.tunnel, self.answers = edge, tunnel, answers
        self.host = tunnel["hostname"]
        self.loop = Loop()
        self.client_id = os.urandom(16)
        self.requests = []
        self.faults = []  # what went wrong in here: a test asks for none
        self.peers = []

    async def dial(self, **options):
        peer = await dial(self.edge.addresses["tunnel"], self.edge.dir / "ca.pem", **options)
        peer.on_stream = self.serve
        self.peers.append(peer)
        return peer

    async def serve(self, stream):
        try:
            request = await read_request(stream)
            self.requests.append(request)
            await self.answers.get(request.target, not_found)(stream, request)
        except EOFError:
            pass  # the edge let go
        except Exception as e:
            self.faults.append(e)
            stream.reset()

    async def control(self, peer):
        """Cap'n Proto's own RPC on stream 0. Its objects live and end in the loop's thread: they stay in the peer."""
        peer.rpc = capnp.TwoPartyClient(await pipe_for_rpc(peer.open()))
        peer.control = peer.rpc.bootstrap().cast_as(wire.SCHEMA.RegistrationServer)

    def arguments(self, index=0, **changes):
        client = {"clientId": self.client_id, "features": ["serialized_headers", "support_quic_eof"], "version": "0.0.1",
                  "arch": "linux_amd64"}
        return dict({
            "auth": {"accountTag": self.tunnel["account_tag"], "tunnelSecret": base64.b64decode(self.tunnel["secret"])},
            "tunnelId": uuid.UUID(self.tunnel["id"]).bytes,
            "connIndex": index,
            "options": {"client": client, "originLocalIp": bytes([127, 0, 0, 1])},
        }, **changes)

    async def ask_to_register(self, peer, index=0, **changes):
        """("connectionDetails" or "error", its fields)"""
        result = (await peer.control.registerConnection(**self.arguments(index, **changes))).result.result
        return result.which(), getattr(result, result.which()).to_dict()

    async def register(self, index=0):
        """A connection that serves."""
        peer = await self.dial()
        await self.control(peer)
        which, fields = await self.ask_to_register(peer, index)
        assert which == "connectionDetails", fields
        return peer

    async def unregister(self, peer):
        await peer.control.unregisterConnection()

    def run(self, coroutine):
        return self.loop.run(coroutine)

    def stop(self):
        async def all_of_them():
            for peer in self.peers:
                peer.control = peer.rpc = None
                await hang_up(peer)

        try:
            self.run(all_of_them())
        finally:
            self.loop.stop()
        assert not self.faults, self.faults


async def not_found(stream, request):
    stream.write(wire.response_head(404, [("Content-Length", "0")]), True)
