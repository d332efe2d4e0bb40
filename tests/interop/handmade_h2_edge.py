"""An edge over HTTP/2 by hyper-h2 and pycapnp: the counterpart of handmade_edge.py."""
import asyncio
import contextlib

import capnp
from handmade_edge import ACCEPT, Registrar
from h2_peer import SERVER_NAME, UPGRADE, H2Peer, server_context
from nginx import self_signed
from peer import Loop, pipe_for_rpc

CONTROL = [(":method", "GET"), (":scheme", "https"), (":authority", SERVER_NAME), (":path", "/"), (UPGRADE, "control-stream")]


class HandmadeH2Edge:
    """`opens` is what happens on a new connection; as a real edge it asks for the control stream at once."""

    def __init__(self, where, opens=None):
        self.ca = where / "handmade-ca.pem"
        self_signed(self.ca, where / "handmade-key.pem", [SERVER_NAME])
        self.loop = Loop()
        self.opens = opens or self.open_control
        self.decide = lambda registration: ACCEPT
        self.registrations, self.configurations = [], []
        self.peers, self.serving, self.unregistered, self.faults = [], [], [], []
        context = server_context(self.ca, where / "handmade-key.pem")
        self.run(self._open(context))

    async def _open(self, context):
        def protocol():
            peer = H2Peer(True)
            peer.on_open = self._arrived
            return peer

        self.server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=context)
        self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    def _arrived(self, peer):
        self.peers.append(peer)
        peer.spawn(self._first(peer))

    async def _first(self, peer):
        try:
            await self.opens(peer)
        except EOFError:
            pass  # the connector went; the test sees it
        except Exception as e:
            self.faults.append(e)

    async def open_control(self, peer):
        peer.control_stream = await peer.request(CONTROL, fin=False).heads()
        assert peer.control_stream.status == 200
        peer.rpc = capnp.TwoPartyServer(await pipe_for_rpc(peer.control_stream), bootstrap=Registrar(self, peer))

    def run(self, coroutine):
        return self.loop.run(coroutine)

    def stop(self):
        async def all_of_them():
            self.server.close()
            for peer in self.peers:
                peer.rpc = None
                peer.hang_up()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(peer.over(), 10)

        try:
            self.run(all_of_them())
        finally:
            self.loop.stop()
        assert not self.faults, self.faults

    def newest(self):
        return [peer for peer in self.serving if peer.why is None][-1]

    def open(self, method, authority, path, headers=(), fin=True):
        """A request on the newest registered connection. On the loop's thread."""
        head = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        return self.newest().request(head + [(k.lower(), v) for k, v in headers], fin)
