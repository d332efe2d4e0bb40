"""An issuer of tokens: keys by `cryptography`, signed tokens, and a real HTTPS server that hands out its key set."""
import base64
import http.server
import json
import ssl
import threading
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from nginx import self_signed

PATH = "/cdn-cgi/access/certs"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Key:
    """A signing key of one algorithm."""

    def __init__(self, kid, alg="RS256", bits=2048):
        self.kid, self.alg = kid, alg
        if alg == "RS256":
            self.private = rsa.generate_private_key(65537, bits)
        elif alg == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()

    def jwk(self, **changes):
        public = self.private.public_key()
        if self.alg == "RS256":
            numbers = public.public_numbers()
            fields = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        elif self.alg == "ES256":
            numbers = public.public_numbers()
            fields = {"kty": "EC", "crv": "P-256", "x": number(numbers.x, 32), "y": number(numbers.y, 32)}
        else:
            fields = {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        return {"kid": self.kid, "alg": self.alg, "use": "sig", **fields, **changes}

    def sign(self, data):
        if self.alg == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        if self.alg == "ES256":
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(data)

    def token(self, claims, **header):
        text = b64(json.dumps({"alg": self.alg, "kid": self.kid, "typ": "JWT", **header}).encode())
        text += "." + b64(json.dumps(claims).encode())
        return text + "." + b64(self.sign(text.encode()))


class Issuer:
    """`answer` gives (status, body) for each fetch; `fetches` counts them; while `gate` is not set they wait."""

    def __init__(self, where):
        self.ca = where / "issuer-ca.pem"
        self_signed(self.ca, where / "issuer-key.pem", ["localhost", "127.0.0.1"])
        self.fetches, self.keys = 0, []
        self.answer = self.key_set
        self.gate = threading.Event()
        self.gate.set()
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                issuer.fetches += 1
                issuer.gate.wait(30)
                status, body = issuer.answer() if self.path == PATH else (404, b"")
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass  # the connector had enough of it

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a connector that goes away

        self.server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(self.ca), str(where / "issuer-key.pem"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def key_set(self):
        return 200, json.dumps({"keys": [key.jwk() for key in self.keys]}).encode()

    def claims(self, **changes):
        now = int(time.time())
        made = {"iss": self.url, "aud": ["one", "two"], "exp": now + 600, "iat": now, "nbf": now, "email": "a@example.com", **changes}
        return {name: value for name, value in made.items() if value is not None}

    def rule(self, *audiences, **changes):
        """The key `access` of a rule."""
        return {"required": True, "issuer": self.url, "caPool": str(self.ca), "audTag": list(audiences), **changes}

    def stop(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
