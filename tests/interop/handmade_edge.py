"""An edge by aioquic and pycapnp: it takes registrations and opens data streams as a test tells it to."""
import asyncio
import base64
import contextlib
import json
import os
import uuid

import capnp
import wire
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from conftest import Program, connector_command, token_of
from hello_retry import allow_retry
from nginx import self_signed
from peer import ALPN, Loop, Peer, hang_up, pipe_for_rpc

HOST = "by-hand.localhost"
ACCEPT = {"connectionDetails": {"uuid": bytes(range(16)), "locationName": "TST", "tunnelIsRemotelyManaged": False}}


class Registrar(wire.SCHEMA.RegistrationServer.Server):
    """The bootstrap object of one control stream."""

    def __init__(self, edge, peer):
        self.edge, self.peer = edge, peer

    async def registerConnection(self, auth, tunnelId, connIndex, options, _context, **kwargs):
        self.edge.registrations.append({"auth": auth.to_dict(), "tunnelId": tunnelId, "connIndex": connIndex,
                                        "options": options.to_dict()})
        answer = self.edge.decide(self.edge.registrations[-1])
        if isinstance(answer, Exception):
            raise answer
        if "connectionDetails" in answer:
            self.edge.serving.append(self.peer)
        return wire.SCHEMA.ConnectionResponse.new_message(result=answer)

    async def unregisterConnection(self, _context, **kwargs):
        self.edge.unregistered.append(self.peer)

    async def updateLocalConfiguration(self, config, _context, **kwargs):
        self.edge.configurations.append(config)


class HandmadeEdge:
    def __init__(self, where, names=("quic.cftunnel.com",), alpn=ALPN, streams=None, reuses=False):
        self.ca = where / "handmade-ca.pem"
        if not reuses:  # the certificate of an edge that was made there before
            self_signed(self.ca, where / "handmade-key.pem", list(names))
        self.is_stopped = False
        self.loop = Loop()
        self.decide = lambda registration: ACCEPT
        self.registrations, self.configurations = [], []
        self.peers, self.serving, self.unregistered = [], [], []  # connections: all, registered, unregistered
        self.faults = []
        configuration = QuicConfiguration(is_client=False, alpn_protocols=[alpn], idle_timeout=20, max_datagram_frame_size=16383)
        configuration.load_cert_chain(str(self.ca), str(where / "handmade-key.pem"))
        self.run(self._open(configuration, streams))

    async def _open(self, configuration, streams):
        def protocol(quic, stream_handler=None):
            if streams is not None:
                quic._local_max_streams_bidi.value = streams  # what the connector may open
            allow_retry(quic)
            peer = Peer(quic)
            peer.on_stream = self.control
            self.peers.append(peer)
            return peer

        self.server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=protocol)
        self.address = "127.0.0.1:%d" % self.server._transport.get_extra_info("sockname")[1]

    async def control(self, stream):
        """Stream 0; a connector without UDP sessions opens no other."""
        if stream.id != 0:
            self.faults.append(f"stream {stream.id} of the connector")
            return
        try:
            stream.peer.rpc = capnp.TwoPartyServer(await pipe_for_rpc(stream), bootstrap=Registrar(self, stream.peer))
        except Exception as e:
            self.faults.append(e)

    def run(self, coroutine):
        return self.loop.run(coroutine)

    def stop(self):
        self.is_stopped = True

        async def all_of_them():
            for peer in self.peers:
                peer.rpc = None
                with contextlib.suppress(asyncio.TimeoutError):
                    peer.close()
                    await asyncio.wait_for(peer.wait_closed(), 10)
            self.server.close()

        try:
            self.run(all_of_them())
        finally:
            self.loop.stop()
        assert not self.faults, self.faults

    # ---- data streams ----

    async def open(self, data, fin=True, is_bytewise=False):
        """A stream of the newest registered connection, with data at its front."""
        live = [peer for peer in self.serving if peer.why is None]
        stream = live[-1].open()
        if is_bytewise:
            await stream.write_bytewise(data, fin)
        else:
            stream.write(data, fin)
        return stream

    async def answer(self, stream):
        """(head, body) of a whole answer. EOFError when the stream was reset."""
        data = await stream.rest()
        assert data[:8] == wire.PREAMBLE, data[:16]
        frame, body = wire.take_frame(data[8:])
        return wire.decode(wire.SCHEMA.ConnectResponse, frame), body

    def ask(self, data, **options):
        async def both():
            return await self.answer(await self.open(data, **options))
        return self.run(both())


def random_token():
    """Credentials of a tunnel that only a hand-made edge knows, in the form of conftest.token_of."""
    fields = {"account_tag": os.urandom(16).hex(), "id": str(uuid.uuid4()), "secret": base64.b64encode(os.urandom(32)).decode()}
    return fields, token_of(fields)


def start_connector(edge, where, service, is_awaited=True, grace="1s"):
    """adit with two connections to a hand-made edge."""
    tunnel, token = random_token()
    (where / "config.yml").write_text(json.dumps({"ingress": [{"service": service}]}))
    command = connector_command("adit", where / "config.yml", edge.ca, [edge.address], token, grace)
    program = Program(command, where / "connector.log", cwd=where)
    program.tunnel = tunnel
    if is_awaited:
        program.wait_for("Registered tunnel connection")
    return program
