"""An origin with one behaviour for each path; HTTP/1.1, kept alive, threaded."""
import hashlib
import http.server
import json
import socket
import threading
import time

CHUNK = bytes(range(256)) * 256


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def body(self):
        """Hash and length of the request's body."""
        digest, total = hashlib.sha256(), 0
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                data = self.rfile.read(size)
                self.rfile.readline()
                digest.update(data)
                total += size
                if size == 0:
                    break
        else:
            left = int(self.headers.get("Content-Length", 0))
            while left:
                data = self.rfile.read(min(left, 1 << 16))
                if not data:
                    break
                digest.update(data)
                total += len(data)
                left -= len(data)
        return digest.hexdigest(), total

    def reply(self, data, status=200, kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def start_chunked(self, kind="text/plain"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def handle_any(self):
        path, _, query = self.path.partition("?")
        name = path.strip("/").split("/")
        if name[0] == "echo":
            digest, total = self.body()
            seen = {"method": self.command, "path": self.path, "sha256": digest, "bytes": total,
                    "headers": [[k, v] for k, v in self.headers.items()]}
            self.reply(json.dumps(seen).encode(), kind="application/json")
        elif name[0] == "status":
            code = int(name[1])
            self.body()
            if code in (204, 304):
                self.send_response(code)
                self.end_headers()
            else:
                self.reply(b"status %d\n" % code, code)
        elif name[0] == "bytes":
            size = int(name[1])
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            while size and self.command != "HEAD":
                n = min(size, len(CHUNK))
                self.wfile.write(CHUNK[:n])
                size -= n
        elif name[0] == "chunks":
            self.start_chunked()
            for i in range(int(name[1])):
                self.chunk(b"chunk %d\n" % i)
            self.chunk(b"") if False else self.wfile.write(b"0\r\n\r\n")
        elif name[0] == "stepwise":
            # Each piece goes out only when the visitor has asked for it at /next: nobody may hold back what was written.
            self.start_chunked(name[1].replace("-", "/", 1) if len(name) > 1 else "text/html")
            for i in range(3):
                self.chunk(b"piece %d\n" % i)
                self.server.step.acquire(timeout=20)
            self.wfile.write(b"0\r\n\r\n")
        elif name[0] == "next":
            self.server.step.release()
            self.reply(b"ok")
        elif name[0] == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"x" * 50000)
            self.wfile.flush()
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
        elif name[0] == "cut-chunks":
            self.start_chunked()
            self.chunk(b"first\n")
            self.close_connection = True
        elif name[0] == "close":
            self.close_connection = True
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"until the end\n")
        elif name[0] == "slowread":
            # Takes its body only after /next: the far side must hold back.
            self.server.step.acquire(timeout=30)
            digest, total = self.body()
            self.reply(b"%d" % total)
        else:
            self.reply(b"hello\n")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = handle_any


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        pass


def start():
    server = Server(("127.0.0.1", 0), Handler)
    server.step = threading.Semaphore(0)
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
