"""A connector over HTTP/2 by hyper-h2 and pycapnp: the counterpart of handmade_connector.py."""
import base64

import capnp
import wire
from h2_peer import BLOCK, META, ORIGIN, UPGRADE, dial
from handmade_connector import Connector
from peer import pipe_for_rpc


def coded(text):
    data = text if isinstance(text, bytes) else text.encode("latin-1")
    return base64.b64encode(data).decode().rstrip("=")


def block(pairs):
    return ";".join(coded(k) + ":" + coded(v) for k, v in pairs)


def response(status, pairs=(), more=(), meta=ORIGIN):
    """A head as the reference writes it."""
    return [(":status", str(status)), (BLOCK, block(pairs)), (META, meta), *more]


class Request:
    def __init__(self, stream):
        self.fields = dict(stream.head)
        self.target = self.fields.get(":path", "")

    def header(self, name):
        return self.fields.get(name.lower())


class H2Connector(Connector):
    """answers: {path: coroutine function of (stream, request)}. Anything else gets 404."""

    features = ["serialized_headers", "allow_remote_config"]

    async def dial(self, **options):
        def before(peer):
            peer.on_stream = self.serve

        peer = await dial(self.edge.addresses["tunnel"], self.edge.dir / "ca.pem", before=before, **options)
        self.peers.append(peer)
        return peer

    async def serve(self, stream):
        request = Request(stream)
        if request.header(UPGRADE) == "control-stream":
            stream.peer.control_stream = stream
            stream.peer.news.set()
            return
        self.requests.append(request)
        try:
            await self.answers.get(request.target, not_found)(stream, request)
        except EOFError:
            pass  # the edge let go
        except Exception as e:
            self.faults.append(e)
            stream.reset()

    async def control(self, peer):
        await peer.until(lambda: hasattr(peer, "control_stream"))
        peer.control_stream.respond([(":status", "200"), ("content-type", "application/octet-stream")])
        peer.rpc = capnp.TwoPartyClient(await pipe_for_rpc(peer.control_stream))
        peer.control = peer.rpc.bootstrap().cast_as(wire.SCHEMA.RegistrationServer)

    def arguments(self, index=0, **changes):
        given = super().arguments(index, **changes)
        given["options"]["client"]["features"] = self.features
        return given

    def stop(self):
        async def all_of_them():
            for peer in self.peers:
                peer.control = peer.rpc = None
                peer.hang_up()
                await peer.over()

        try:
            self.run(all_of_them())
        finally:
            self.loop.stop()
        assert not self.faults, self.faults


async def not_found(stream, request):
    stream.respond(response(404, [("Content-Length", "0")]), fin=True)
